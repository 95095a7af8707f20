import pytest

from commoncanvas.config import DiffusionRecipe, load_recipe
from commoncanvas.core.errors import RecipeError
from commoncanvas.planning.network import network_of
from commoncanvas.planning.parts import Latents, TextStates, latents_of, text_states_of

CHANNELS, CELLS, TOKENS, WIDTH, TIME = 8, 16, 5, 6, 32
SMALL = [
    *("--size", "32", "--text_length", str(TOKENS), "--unet.block_out_channels", f"[{CHANNELS}]"),
    *("--unet.down_block_types", "[CrossAttnDownBlock2D]", "--unet.up_block_types", "[UpBlock2D]"),
    *("--unet.mid_block_type", "null", "--unet.layers_per_block", "1", "--unet.attention_head_dim", "2"),
    *("--unet.norm_num_groups", "4"),
]


def diffusion(name: str, *overrides: str) -> DiffusionRecipe:
    recipe = load_recipe(name, overrides)
    assert isinstance(recipe, DiffusionRecipe)
    return recipe


def product(rows: int, inner: int, columns: int) -> int:
    return 2 * rows * inner * columns


def test_flops_are_those_counted_by_hand() -> None:
    conv_in = product(CELLS, 9 * 4, CHANNELS)
    time_in = product(1, CHANNELS, TIME)
    resnet = product(1, TIME, CHANNELS) + product(CELLS, 9 * CHANNELS, CHANNELS)
    down = product(CELLS, 9 * CHANNELS, CHANNELS) + resnet
    # In front of the up block's two convolutions a skip is put beside what comes, and a 1 x 1 one leads past both.
    up = 2 * (product(CELLS, 9 * 2 * CHANNELS, CHANNELS) + resnet + product(CELLS, 2 * CHANNELS, CHANNELS))
    # Into the transformer and out of it; queries, keys, values and output among the cells; queries and output of text.
    linear = 8 * product(CELLS, CHANNELS, CHANNELS)
    among_cells = 2 * product(CELLS, CHANNELS, CELLS)
    with_text = 2 * product(CELLS, CHANNELS, TOKENS)
    text = 2 * product(TOKENS, WIDTH, CHANNELS)
    gated = product(CELLS, CHANNELS, 8 * CHANNELS) + product(CELLS, 4 * CHANNELS, CHANNELS)
    conv_out = product(CELLS, 9 * CHANNELS, 4)
    forward = conv_in + time_in + product(1, TIME, TIME) + down + up + conv_out
    forward += linear + among_cells + with_text + text + gated
    # Backward is two products for each, but nobody asks for the gradients of noise, time and text.
    by_hand = 3 * forward - conv_in - time_in - text

    recipe = diffusion("s-c", *SMALL)
    assert network_of(recipe, Latents(4, 8), TextStates(WIDTH)).flops == by_hand

    again = diffusion("s-c", *SMALL, "--train.activation_checkpointing", "true")
    assert by_hand < network_of(again, Latents(4, 8), TextStates(WIDTH)).flops <= by_hand + forward


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("s-c", 865_910_724),
        pytest.param("l-c", 2_567_463_684, marks=pytest.mark.slow),
        pytest.param("l-c-sd2", 2_391_824_644, marks=pytest.mark.slow),
    ],
)
def test_the_family_has_as_many_parameters_as_it_says(name: str, parameters: int) -> None:
    recipe = diffusion(name, "--size", "64", "--train.activation_checkpointing", "false")
    assert network_of(recipe, latents_of(recipe), text_states_of(recipe)).parameters == parameters


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "30"], "size 30 is not a multiple"),
        (["--unet.block_out_channels", "[7]"], "unet is not a configuration"),
        (["--unet.nonsense", "3"], "unet is not a configuration"),
        (["--unet.in_channels", "9"], "unet can't be run"),
        (["--unet.addition_embed_type", "text_time"], "is not SDXL's pair"),
    ],
)
def test_a_network_that_cannot_be_is_named(words: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        network_of(diffusion("s-c", *SMALL, *words), Latents(4, 8), TextStates(WIDTH))
