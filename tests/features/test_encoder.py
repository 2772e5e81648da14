"""Encoders: any callable, and real CLIP and DINO classes with small random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from creditline.errors import ModelError, SettingsError
from creditline.features.encoder import EncoderExtractor, TransformersEncoder, load_encoder

IMAGES = [Image.new("RGB", (24, 24), color) for color in ("red", "green", "blue")]
SMALL = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 16,
}


def save(folder, model, processor):
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def processor():
    transformers = pytest.importorskip("transformers")
    return transformers.CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )


def test_clip_gives_its_image_embedding(tmp_path, processor):
    import transformers

    torch.manual_seed(0)
    text = {**SMALL, "vocab_size": 10, "max_position_embeddings": 8}
    for key in ("image_size", "patch_size"):
        text.pop(key)
    config = transformers.CLIPConfig(text_config=text, vision_config=SMALL, projection_dim=12)
    model = transformers.CLIPModel(config).eval()
    encoder = TransformersEncoder(save(tmp_path, model, processor))
    embedding = encoder(IMAGES)
    assert embedding.shape == (3, 12)
    with torch.no_grad():
        pixels = processor(images=IMAGES, return_tensors="pt")["pixel_values"]
        hidden = model.vision_model(pixels).pooler_output
        torch.testing.assert_close(embedding, model.visual_projection(hidden))


def test_dino_gives_its_class_token(tmp_path, processor):
    import transformers

    torch.manual_seed(0)
    model = transformers.ViTModel(transformers.ViTConfig(**SMALL), add_pooling_layer=False).eval()
    encoder = TransformersEncoder(save(tmp_path, model, processor))
    with torch.no_grad():
        pixels = processor(images=IMAGES, return_tensors="pt")["pixel_values"]
        expected = model(pixels).last_hidden_state[:, 0]
    torch.testing.assert_close(encoder(IMAGES), expected)


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(ModelError, match="Cannot load an encoder"):
        TransformersEncoder(str(tmp_path))


def test_no_encoder_at_all():
    with pytest.raises(SettingsError, match="--encoder"):
        load_encoder("")


def test_outputs_of_a_wrong_shape_are_refused():
    with pytest.raises(ModelError, match="one vector per image"):
        EncoderExtractor(lambda images: np.zeros((len(images), 2, 2)))
    lengths = iter([4, 5])
    source = EncoderExtractor(lambda images: np.zeros((len(images), next(lengths))))
    with pytest.raises(ModelError, match="5 dimensions where 4"):
        source._embed(IMAGES)
