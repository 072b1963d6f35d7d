#!/usr/bin/env python3
"""Writes folders/: tiny pipelines with random weights as diffusers and transformers save them, and folders.safetensors: for
each, noise and the picture that it draws from it, channels first.

Needs torch, diffusers, transformers and safetensors: python Tests/Fixtures/make_folders.py
"""

import shutil
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL, DDIMPipeline, DDIMScheduler, LDMPipeline, StableDiffusionPipeline, UNet2DConditionModel, UNet2DModel, VQModel)
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

HERE = Path(__file__).resolve().parent
FOLDERS = HERE / "folders"
STEPS = 5
PROMPT, NEGATIVE = "a small red circle above a large blue square", "a green triangle"
END, LENGTH = 709, 16
shutil.rmtree(FOLDERS, ignore_errors=True)
tensors = {}


def perturbed(model, deviation):
    """Biases and norms away from 0 and 1, so that every one of them matters."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(deviation * torch.randn_like(parameter))
    return model.eval()


def walk(unet, scheduler, x):
    scheduler.set_timesteps(STEPS)
    for t in scheduler.timesteps:
        x = scheduler.step(unet(x, t).sample, t, x, eta=0.0).prev_sample
    return x


def keep(name, noise, picture):
    tensors[name + ".noise"] = noise.contiguous()
    tensors[name + ".picture"] = picture.contiguous()


def picture(x):
    return (x / 2 + 0.5).clamp(0, 1)


def unet(channels, size):
    return perturbed(
        UNet2DModel(
            sample_size=size, in_channels=channels, out_channels=channels, block_out_channels=(8, 16), layers_per_block=1,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            norm_num_groups=4, attention_head_dim=8), 0.02)


SIZES = dict(
    block_out_channels=(4, 8), layers_per_block=1, norm_num_groups=4, sample_size=16,
    down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2)


@torch.no_grad()
def ddim():
    pipeline = DDIMPipeline(unet(3, 16), DDIMScheduler(clip_sample=False))
    pipeline.save_pretrained(FOLDERS / "ddim")
    noise = torch.randn(2, 3, 16, 16)
    keep("ddim", noise, picture(walk(pipeline.unet, pipeline.scheduler, noise)))


@torch.no_grad()
def ldm():
    vqvae = perturbed(VQModel(latent_channels=3, num_vq_embeddings=16, scaling_factor=0.5, **SIZES), 0.05)
    # Untrained vectors are so close together that rounding could choose between them.
    vqvae.quantize.embedding.weight.copy_(2 * torch.randn(16, 3))
    scheduler = DDIMScheduler(beta_start=0.0015, beta_end=0.0195, beta_schedule="scaled_linear", clip_sample=False)
    pipeline = LDMPipeline(vqvae, unet(3, 8), scheduler)
    pipeline.save_pretrained(FOLDERS / "ldm")
    noise = torch.randn(2, 3, 8, 8)
    latents = walk(pipeline.unet, scheduler, noise)
    keep("ldm", noise, picture(vqvae.decode(latents / vqvae.config.scaling_factor).sample))


def stable_diffusion(name, act, pad, **changes):
    tokenizer = CLIPTokenizer.from_pretrained(HERE / "tokenizer", model_max_length=LENGTH, pad_token=pad)
    text = perturbed(CLIPTextModel(CLIPTextConfig(
        vocab_size=END + 1, hidden_size=16, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=LENGTH, hidden_act=act, bos_token_id=END - 1, eos_token_id=END,
        pad_token_id=tokenizer.pad_token_id, projection_dim=16)), 0.1)
    network = perturbed(UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
        cross_attention_dim=16, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), **changes), 0.03)
    vae = perturbed(AutoencoderKL(latent_channels=4, **SIZES), 0.05)
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1)
    pipeline = StableDiffusionPipeline(
        vae, text, tokenizer, network, scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(FOLDERS / name)
    noise = torch.randn(2, 4, 8, 8)
    made = pipeline(
        [PROMPT] * 2, negative_prompt=[NEGATIVE] * 2, latents=noise, guidance_scale=3.0, num_inference_steps=STEPS,
        output_type="pt").images
    keep(name, noise, made)


@torch.no_grad()
def clip():
    model = perturbed(CLIPModel(CLIPConfig(
        text_config=dict(
            vocab_size=END + 1, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=LENGTH, bos_token_id=END - 1, eos_token_id=END, pad_token_id=END),
        vision_config=dict(
            hidden_size=12, intermediate_size=24, num_hidden_layers=1, num_attention_heads=3, image_size=12, patch_size=4),
        projection_dim=10)), 0.1)
    model.save_pretrained(FOLDERS / "clip")
    tokenizer = CLIPTokenizer.from_pretrained(HERE / "tokenizer", model_max_length=LENGTH)
    tokenizer.save_pretrained(FOLDERS / "clip")
    images = torch.rand(3, 3, 12, 12)
    mean, deviation = (torch.tensor(x).reshape(1, 3, 1, 1) for x in (
        [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]))
    ids = tokenizer([PROMPT, NEGATIVE], padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")
    out = model(input_ids=ids["input_ids"], pixel_values=(images - mean) / deviation)
    tensors.update({
        "clip.images": images, "clip.image-embeds": out.image_embeds.contiguous(),
        "clip.text-embeds": out.text_embeds.contiguous()})


for seed, make in enumerate([
    ddim, ldm, lambda: stable_diffusion("sd", "quick_gelu", "<|endoftext|>", attention_head_dim=2),
    lambda: stable_diffusion("sd2", "gelu", "!", attention_head_dim=[1, 2], use_linear_projection=True), clip,
]):
    torch.manual_seed(seed)
    make()
for place in FOLDERS.rglob("*"):
    if place.is_file():
        place.chmod(0o644)
save_file(tensors, str(HERE / "folders.safetensors"))
(HERE / "folders.safetensors").chmod(0o644)
