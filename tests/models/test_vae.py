import torch
from diffusers import AutoencoderKL

from commoncanvas.models.vae import fold_normalisation, to_images, to_pixels


def small_vae(seed: int = 0) -> AutoencoderKL:
    torch.manual_seed(seed)
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        block_out_channels=[8, 16],
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
    ).eval()


@torch.no_grad()
def test_folding_normalises_each_channel_and_leaves_reconstructions_alone() -> None:
    vae, pixels = small_vae(), torch.rand(16, 3, 16, 16) * 2 - 1
    before = vae.encode(pixels).latent_dist
    reconstruction = vae.decode(before.mode()).sample
    fold_normalisation(vae, before.mean.mean((0, 2, 3)), before.mean.std((0, 2, 3)))
    after = vae.encode(pixels).latent_dist
    assert torch.allclose(after.mean.mean((0, 2, 3)), torch.zeros(4), atol=1e-4)
    assert torch.allclose(after.mean.std((0, 2, 3)), torch.ones(4), atol=1e-4)
    assert torch.allclose(vae.decode(after.mode()).sample, reconstruction, atol=1e-4)
    # A sample of the posterior moves with its mean: same noise, same reconstruction.
    noise = [torch.Generator().manual_seed(1) for _ in range(2)]
    same = [vae.decode(after.sample(noise[0])).sample]
    scale = before.mean.std((0, 2, 3))[None, :, None, None]
    shift = before.mean.mean((0, 2, 3))[None, :, None, None]
    drawn = (before.sample(noise[1]) - shift) / scale
    same.append(vae.decode(drawn).sample)
    assert torch.allclose(*same, atol=1e-4)
    assert vae.config.scaling_factor == 1.0


def test_pixels_survive_the_way_there_and_back() -> None:
    images = torch.randint(0, 256, (2, 4, 4, 3), dtype=torch.uint8)
    assert (to_images(to_pixels(images)) == images.numpy()).all()
