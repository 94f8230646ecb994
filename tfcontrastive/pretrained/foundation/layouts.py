"""What the variables of a vision transformer are called, by the library that writes the file."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Layout:
    """The names of one library. `{}` stands for weight or bias; a tuple for parts that are one variable here; "" for what
    the library does not have.

    Attributes:
        library: who writes such files.
        class_token, registers, positions: tokens and places.
        patches: the patch embedding.
        pre_norm: before the first block.
        block: what stands before the parts of block `{}`, from 0.
        norm1, qkv, out, scale1, norm2, fc1, fc2, scale2: the parts of a block.
        norm: after the last block.
        gated, gated_out: the fc1 of networks with a gate, gate first, and their fc2.
        query_bias, value_bias: where keys have none and these are not `qkv`'s.
        pool: `{part of AttentionPool and what follows: name}`.
        projection_is_transposed: whether the last linear map is laid out as [in, out].
    """

    library: str
    class_token: str
    registers: str
    positions: str
    patches: str
    block: str
    norm1: str
    qkv: str | tuple[str, str, str]
    out: str
    norm2: str
    fc1: str
    fc2: str
    norm: str
    pre_norm: str = ""
    scale1: str = ""
    scale2: str = ""
    gated: str | tuple[str, str] = ""
    gated_out: str = ""
    query_bias: str = ""
    value_bias: str = ""
    pool: tuple[tuple[str, str], ...] = ()
    projection_is_transposed: bool = False


TIMM = Layout(
    library="timm",
    class_token="cls_token",
    registers="reg_token",
    positions="pos_embed",
    patches="patch_embed.proj.{}",
    pre_norm="norm_pre.{}",
    block="blocks.{}.",
    norm1="norm1.{}",
    qkv="attn.qkv.{}",
    out="attn.proj.{}",
    scale1="ls1.gamma",
    norm2="norm2.{}",
    fc1="mlp.fc1.{}",
    fc2="mlp.fc2.{}",
    scale2="ls2.gamma",
    gated="mlp.fc1.{}",
    gated_out="mlp.fc2.{}",
    norm="norm.{}",
    pool=(
        ("probe", "attn_pool.latent"),
        ("query", "attn_pool.q.{}"),
        ("key_value", "attn_pool.kv.{}"),
        ("proj", "attn_pool.proj.{}"),
        ("pool_norm", "attn_pool.norm.{}"),
        ("pool_fc1", "attn_pool.mlp.fc1.{}"),
        ("pool_fc2", "attn_pool.mlp.fc2.{}"),
    ),
)

META = dataclasses.replace(TIMM, library="Meta", registers="register_tokens", gated="mlp.w12.{}", gated_out="mlp.w3.{}")

TIMM_EVA = dataclasses.replace(
    TIMM,
    positions="",
    scale1="gamma_1",
    scale2="gamma_2",
    gated=("mlp.fc1_g.{}", "mlp.fc1_x.{}"),
    query_bias="attn.q_bias",
    value_bias="attn.v_bias",
)

META_DINOV3 = dataclasses.replace(META, registers="storage_tokens", positions="", gated=("mlp.w1.{}", "mlp.w2.{}"))

TRANSFORMERS_DINOV2 = Layout(
    library="Hugging Face transformers",
    class_token="embeddings.cls_token",
    registers="embeddings.register_tokens",
    positions="embeddings.position_embeddings",
    patches="embeddings.patch_embeddings.projection.{}",
    block="encoder.layer.{}.",
    norm1="norm1.{}",
    qkv=("attention.attention.query.{}", "attention.attention.key.{}", "attention.attention.value.{}"),
    out="attention.output.dense.{}",
    scale1="layer_scale1.lambda1",
    norm2="norm2.{}",
    fc1="mlp.fc1.{}",
    fc2="mlp.fc2.{}",
    scale2="layer_scale2.lambda1",
    gated="mlp.weights_in.{}",
    gated_out="mlp.weights_out.{}",
    norm="layernorm.{}",
)

TRANSFORMERS_VIT = dataclasses.replace(
    TRANSFORMERS_DINOV2,
    registers="",
    norm1="layernorm_before.{}",
    norm2="layernorm_after.{}",
    fc1="intermediate.dense.{}",
    fc2="output.dense.{}",
    scale1="",
    scale2="",
    gated="",
    gated_out="",
)

TRANSFORMERS_DINOV3 = dataclasses.replace(
    TRANSFORMERS_DINOV2,
    positions="",
    patches="embeddings.patch_embeddings.{}",
    block="layer.{}.",
    qkv=("attention.q_proj.{}", "attention.k_proj.{}", "attention.v_proj.{}"),
    out="attention.o_proj.{}",
    fc1="mlp.up_proj.{}",
    fc2="mlp.down_proj.{}",
    gated=("mlp.gate_proj.{}", "mlp.up_proj.{}"),
    gated_out="mlp.down_proj.{}",
    query_bias="attention.q_proj.bias",
    value_bias="attention.v_proj.bias",
    norm="norm.{}",
)

OPEN_CLIP = Layout(
    library="OpenCLIP",
    class_token="class_embedding",
    registers="",
    positions="positional_embedding",
    patches="conv1.{}",
    pre_norm="ln_pre.{}",
    block="transformer.resblocks.{}.",
    norm1="ln_1.{}",
    qkv="attn.in_proj_{}",
    out="attn.out_proj.{}",
    norm2="ln_2.{}",
    fc1="mlp.c_fc.{}",
    fc2="mlp.c_proj.{}",
    norm="ln_post.{}",
    projection_is_transposed=True,
)

TRANSFORMERS_CLIP = Layout(
    library="Hugging Face transformers",
    class_token="embeddings.class_embedding",
    registers="",
    positions="embeddings.position_embedding.weight",
    patches="embeddings.patch_embedding.{}",
    pre_norm="pre_layrnorm.{}",
    block="encoder.layers.{}.",
    norm1="layer_norm1.{}",
    qkv=("self_attn.q_proj.{}", "self_attn.k_proj.{}", "self_attn.v_proj.{}"),
    out="self_attn.out_proj.{}",
    norm2="layer_norm2.{}",
    fc1="mlp.fc1.{}",
    fc2="mlp.fc2.{}",
    norm="post_layernorm.{}",
    pool=(
        ("probe", "head.probe"),
        ("query", "head.attention.in_proj_{}"),
        ("key_value", "head.attention.in_proj_{}"),
        ("proj", "head.attention.out_proj.{}"),
        ("pool_norm", "head.layernorm.{}"),
        ("pool_fc1", "head.mlp.fc1.{}"),
        ("pool_fc2", "head.mlp.fc2.{}"),
    ),
)

IN_MEMORY_DINOV2 = dataclasses.replace(
    TRANSFORMERS_DINOV2,
    library="Hugging Face transformers 5, in memory",
    qkv=("attention.q_proj.{}", "attention.k_proj.{}", "attention.v_proj.{}"),
    out="attention.o_proj.{}",
    gated=("mlp.gate_proj.{}", "mlp.up_proj.{}"),
    gated_out="mlp.down_proj.{}",
)

IN_MEMORY_VIT = dataclasses.replace(
    TRANSFORMERS_VIT,
    library="Hugging Face transformers 5, in memory",
    block="layers.{}.",
    qkv=IN_MEMORY_DINOV2.qkv,
    out=IN_MEMORY_DINOV2.out,
    fc1="mlp.fc1.{}",
    fc2="mlp.fc2.{}",
)
"""As `state_dict` has them; `save_pretrained` writes the names of before."""
