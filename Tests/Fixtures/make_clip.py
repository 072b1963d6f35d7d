"""Writes clip/: small CLIP networks of transformers with random weights, what they compute, and its gradients, in float64
from float32 weights and stored as float32.

Needs torch, transformers and safetensors: python Tests/Fixtures/make_clip.py
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel

torch.manual_seed(7)
HERE = Path(__file__).parent / "clip"
END = 39


def perturbed(model):
    """Biases and norms away from 0 and 1, and attention strong enough to matter."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "logit_scale":
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval().double()


def texts(length, ends):
    """Token numbers with the end at the given places, filled up with ends."""
    ids = torch.randint(0, END - 1, (len(ends), length))
    ids[:, 0] = END - 1
    for row, end in zip(ids, ends):
        row[end:] = END
    return ids


def write(name, model, tensors):
    folder = HERE / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(model.config.to_json_string())
    for key, parameter in model.named_parameters():
        tensors["weight." + key] = parameter
        if parameter.grad is not None:
            tensors["gradient." + key] = parameter.grad
    save_file(
        {key: (value if value.dtype == torch.int32 else value.float()).detach().contiguous()
         for key, value in tensors.items()}, str(folder / "cases.safetensors"))
    (folder / "cases.safetensors").chmod(0o644)


# A text network alone, with the exact GELU, a hidden layer of another width, and texts shorter than its context.
config = CLIPTextConfig(
    vocab_size=40, hidden_size=12, intermediate_size=20, num_hidden_layers=2, num_attention_heads=3,
    max_position_embeddings=9, hidden_act="gelu", bos_token_id=END - 1, eos_token_id=END, pad_token_id=END)
model = perturbed(CLIPTextModel(config))
ids = texts(7, [1, 4, 6])
out = model(input_ids=ids)
directions = {"tokens": torch.randn_like(out.last_hidden_state), "pooled": torch.randn_like(out.pooler_output)}
loss = (out.last_hidden_state * directions["tokens"]).sum() + (out.pooler_output * directions["pooled"]).sum()
loss.backward()
write("text", model, {
    "ids": ids.int(), "tokens": out.last_hidden_state, "pooled": out.pooler_output, "loss": loss.reshape(1),
    "direction.tokens": directions["tokens"], "direction.pooled": directions["pooled"]})

# The whole model, with CLIP's loss.
config = CLIPConfig(
    text_config=dict(
        vocab_size=40, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=8, bos_token_id=END - 1, eos_token_id=END, pad_token_id=END),
    vision_config=dict(
        hidden_size=12, intermediate_size=24, num_hidden_layers=2, num_attention_heads=3, image_size=12, patch_size=4),
    projection_dim=10)
model = perturbed(CLIPModel(config))
ids = texts(8, [2, 7, 5, 3])
images = torch.randn(4, 3, 12, 12).double()
out = model(input_ids=ids, pixel_values=images, return_loss=True)
out.loss.backward()
write("whole", model, {
    "ids": ids.int(), "images": images, "vision.tokens": out.vision_model_output.last_hidden_state,
    "vision.pooled": model.vision_model(images).pooler_output, "text.tokens": out.text_model_output.last_hidden_state,
    "text.pooled": model.text_model(ids).pooler_output, "image-embeds": out.image_embeds,
    "text-embeds": out.text_embeds, "logits": out.logits_per_image, "loss": out.loss.reshape(1)})
