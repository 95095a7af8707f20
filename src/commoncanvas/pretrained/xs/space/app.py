"""Draw images with CommonCanvas XS. The model is the folder above this one if it is there, else it comes from the hub."""

import os
import random
from functools import lru_cache
from pathlib import Path

import gradio as gr
import torch
from diffusers import DiffusionPipeline

NAME = "CommonCanvas XS"
LICENSE = "CC-BY-SA-4.0"
PAGE = ""
MODEL = os.environ.get("MODEL_ID", "org/name")
SIDE = 64
MORE = {}
EXAMPLES = ['hamburger', 'grapes', 'automobile', 'brown heart', 'horse', 'bison']
BESIDE = Path(__file__).resolve().parent.parent


def place():
    """The folder of the model, or its id on the hub."""
    return str(BESIDE) if (BESIDE / "model_index.json").is_file() else MODEL


@lru_cache(maxsize=1)
def pipeline():
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded = DiffusionPipeline.from_pretrained(place(), use_safetensors=True).to(device)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def draw(prompt, negative_prompt="", seed=-1, steps=25, guidance_scale=2.0):
    """An image and its seed. The same prompt, settings and seed give the same image; a negative seed draws a new one."""
    if not prompt.strip():
        raise gr.Error("Write what the image should show.")
    seed = random.randrange(2**31) if seed is None or seed < 0 else int(seed)
    image = pipeline()(
        prompt,
        negative_prompt=negative_prompt,
        num_inference_steps=int(steps),
        guidance_scale=float(guidance_scale),
        generator=torch.Generator("cpu").manual_seed(seed),
        **MORE,
    ).images[0]
    return image, seed


def about():
    link = f" [Model and credits]({PAGE})." if PAGE else ""
    return (
        f"# {NAME}\n\nA model that learned from 3,572 openly licensed images, all of them credited. "
        f"Licence of the model: {LICENSE}.{link}\n\nA program makes these images; they are not photographs."
    )


with gr.Blocks(title=NAME) as app:
    gr.Markdown(about())
    prompt = gr.Textbox(label="Prompt", placeholder=EXAMPLES[0])
    button = gr.Button("Draw", variant="primary")
    image = gr.Image(label="Image", format="png", height=max(256, min(SIDE, 768)))
    with gr.Accordion("Settings", open=False):
        negative_prompt = gr.Textbox(label="What the image should not show")
        seed = gr.Number(label="Seed (-1: a new one each time)", value=-1, precision=0)
        steps = gr.Slider(1, 100, value=25, step=1, label="Steps")
        guidance_scale = gr.Slider(1, 15, value=2.0, label="Guidance")
    drawn = gr.Number(label="Seed of this image", interactive=False, precision=0)
    gr.Examples([[text] for text in EXAMPLES], [prompt])
    inputs = [prompt, negative_prompt, seed, steps, guidance_scale]
    # A pipeline draws one image at a time.
    gr.on([button.click, prompt.submit], draw, inputs, [image, drawn], concurrency_limit=1)

if __name__ == "__main__":
    app.launch()
