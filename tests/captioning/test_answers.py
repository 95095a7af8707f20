from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.captioning import Caption
from commoncanvas.captioning.answers import REFUSALS, not_a_caption, refusal
from commoncanvas.captioning.captioner import caption_of

REFUSED = {
    "English": [
        "I'm sorry, but I can't assist with that request.",
        "I’m sorry, but I cannot describe people in this image.",
        "Sorry, I can't help with that.",
        "I can't assist with that request",
        "I cannot identify the person in this photo.",
        "I am unable to provide a description of this image.",
        "I'm not able to view images.",
        "I apologize, but I can't process this.",
        "My apologies, this is beyond me.",
        "Unfortunately, I cannot help with this image.",
        "I won't describe this image.",
        "I don't feel comfortable describing this.",
        "As an AI language model, I do not have eyes.",
        "As an AI, I can't see pictures.",
        "I am a large language model and have no access to images.",
        "There is no image provided, so I can't describe it.",
        "It looks like there's no image attached to your message.",
        "It seems you haven't uploaded an image yet.",
        "Please provide the image that you want described.",
        "\"I'm sorry, I can't help with that.\"",
    ],
    "German": [
        "Es tut mir leid, aber ich kann dabei nicht helfen.",
        "Tut mir leid, das kann ich nicht beschreiben.",
        "Leider kann ich dieses Bild nicht beschreiben.",
        "Ich kann dieses Bild leider nicht beschreiben.",
        "Ich bin nicht in der Lage, Personen zu benennen.",
        "Als KI-Sprachmodell sehe ich keine Bilder.",
    ],
    "French": [
        "Je suis désolé, mais je ne peux pas vous aider.",
        "Désolée, je ne peux pas décrire cette image.",
        "Je ne peux pas décrire cette image.",
        "Malheureusement, je ne peux pas vous aider.",
        "En tant qu'IA, je n'ai pas accès aux images.",
        "En tant que modèle de langage, je ne vois pas.",
    ],
    "Spanish": [
        "Lo siento, no puedo ayudar con eso.",
        "No puedo describir esta imagen.",
        "Como modelo de lenguaje, no puedo ver imágenes.",
    ],
    "Portuguese": [
        "Desculpe, mas não posso ajudar com isso.",
        "Sinto muito, não posso descrever a imagem.",
        "Não posso ajudar com esse pedido.",
    ],
    "Italian": ["Mi dispiace, ma non posso aiutarti.", "Non posso descrivere questa immagine."],
    "Dutch": ["Het spijt me, maar ik kan dat niet doen.", "Sorry, ik kan dit niet beschrijven."],
    "Polish": ["Przepraszam, ale nie mogę w tym pomóc.", "Nie mogę opisać tego obrazu."],
    "Turkish": ["Üzgünüm, bu konuda yardımcı olamam.", "Maalesef bu resmi göremiyorum."],
    "Russian": ["Извините, но я не могу помочь с этим.", "Я не могу описать это изображение."],
    "Chinese": [
        "很抱歉，我无法协助满足该请求。",
        "对不起，我不能描述这张图片。",
        "作为一个人工智能，我看不到图片。",
    ],
    "Japanese": ["申し訳ありませんが、お手伝いできません。", "すみませんが、その画像は説明できません。"],
    "Korean": ["죄송하지만 그 요청은 도와드릴 수 없습니다.", "죄송합니다. 이미지를 볼 수 없습니다."],
    "Arabic": ["عذرًا، لا أستطيع المساعدة في ذلك.", "لا يمكنني وصف هذه الصورة."],
    "Hindi": ["क्षमा करें, मैं इसमें मदद नहीं कर सकता।", "मुझे खेद है, मैं यह नहीं कर सकता।"],
}
WRAPPED = [
    '{"caption": "a dog on grass"}',
    '["a dog", "a cat"]',
    "[{'caption': 'a dog'}]",
    '```json\n{"caption": "a dog"}\n```',
    "<think>The user wants one sentence.</think> A dog on grass.",
    "A dog. </think> A dog on grass.",
    "<answer>A dog</answer>",
    "<|im_start|>assistant A dog",
    "Sure! Here is a caption for the image: a dog on grass.",
    "Certainly! Here's a description of the image.",
    "Of course, here is one sentence: a dog.",
    "Here is a one-sentence description of the image: a dog.",
    "Here's the caption: A dog on grass",
    "Caption: a dog on grass",
    "**Caption:** a dog on grass",
    "Description: a dog",
    "Let me look at the image first.",
    "The user wants a description of a dog.",
    "I'll describe the picture.",
]
CAPTIONS = [
    "a dog on grass",
    "A sign that says I'm sorry, I can't help you",
    "sorry sign on a shop door",
    "two men who are unable to lift a piano",
    "an apology written on a wall",
    "I love New York sign at night",
    "as an airplane lands, people wave",
    "AI generated art on a screen",
    "a man as a language teacher",
    "ich und mein hund am strand",
    "je t'aime written in sand",
    "no image available sign on a wall",
    "no parking sign next to a road",
    "please keep off the grass sign",
    "here is the old town of Bern",
    "a great white shark",
    "Great Wall of China in autumn",
    "ok sign made by a diver",
    "OK Corral, a street in Arizona",
    "sure footed goat on a cliff",
    "{curly brackets} on a blackboard",
    "[sic] in an old newspaper",
    "a caption: contest poster",
    "user manual on a desk",
    "the answer is written on a blackboard",
    "let me in sign on a gate",
    "日本の山と湖",
    "一只狗在草地上",
    "Leider, ein Dorf in Gelderland",
    "lo fi record player",
    "mi casa painted on a wall",
    "desk with a lamp",
    "Sorrento at sunset",
]


def test_every_language_is_tried() -> None:
    assert set(REFUSED) == set(REFUSALS)


@pytest.mark.parametrize("text", [text for texts in REFUSED.values() for text in texts])
def test_a_refusal_is_no_caption(text: str) -> None:
    assert refusal(text)
    assert caption_of(text) == Caption(None, "refused")


@pytest.mark.parametrize("text", WRAPPED)
def test_wrappings_thoughts_and_code_are_no_captions(text: str) -> None:
    assert not_a_caption(text)
    assert caption_of(text).text is None


@pytest.mark.parametrize("text", CAPTIONS)
def test_what_is_in_the_picture_may_say_anything(text: str) -> None:
    assert caption_of(text) == Caption(text, "ok")


def test_blanks_are_made_single_and_nothing_is_empty() -> None:
    assert caption_of(" a\n dog ", cut=True) == Caption("a dog", "cut")
    assert caption_of(" \n") == Caption(None, "empty")


@given(st.text())
def test_any_answer_has_a_status_and_a_text_only_where_it_is_a_caption(text: str) -> None:
    found = caption_of(text)
    assert (found.text is None) == (found.status != "ok")
