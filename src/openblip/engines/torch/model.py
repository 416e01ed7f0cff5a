"""The BLIP model in torch, for training and for the torch engine: one file from pixels and token ids to losses' inputs.

Parameters carry the names and shapes of `config.tensor_shapes`. One text transformer serves three modes (BLIP paper,
section 3.1): unimodal encoder, image-grounded encoder and image-grounded decoder share everything but the
self-attention (encoder's and decoder's). The image's cross-attention keys and values are computed once and shared by
all texts about it.
Knows nothing of data, search or files.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from openblip.config import Mode, ModelConfig, TextConfig, VisionConfig
from openblip.engines.torch.mobilenet import MobileNetV2 as MobileNetV2

KeysValues = list[tuple[Tensor, Tensor]]
"""Per text layer: keys and values of the image tokens, each [images, heads, tokens, head width]."""


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[batch, tokens, width] -> [batch, heads, tokens, head width]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """[batch, heads, tokens, head width] -> [batch, tokens, width]."""
    return x.transpose(1, 2).flatten(2)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(query key^T / sqrt(head width)) value over [batch, heads, tokens, head width]; mask is True where one may
    look."""
    if query.device.type == "cpu" and torch.is_grad_enabled():
        # torch's fused CPU kernel takes three times as long backward at caption lengths (25 against 7 ms, Zen 4,
        # bfloat16).
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        scores = scores if mask is None else scores.masked_fill(~mask, float("-inf"))
        return scores.softmax(dim=-1).to(value.dtype) @ value
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def run_block(block: nn.Module, *inputs: object, recompute: bool) -> Tensor:
    """A block's output. recompute: in training it is computed again for the gradient instead of being kept (gradient
    checkpointing, Chen et al. 2016): less memory, a third more time."""
    if recompute and block.training and torch.is_grad_enabled():
        return checkpoint(block, *inputs, use_reentrant=False)
    return block(*inputs)


class Residual(nn.Module):
    """Dropout and stochastic depth (Huang et al. 2016, a whole row's branch at a time) on a residual branch.

    One dropout mask serves all tokens of a row (variational dropout, Gal and Ghahramani 2016): drawing a mask of its
    own for every token took a tenth of a training step on a CPU.
    """

    def __init__(self, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.dropout, self.drop_path = dropout, drop_path

    def forward(self, branch: Tensor) -> Tensor:
        """branch: [rows, tokens, width]."""
        if not self.training or not (self.dropout or self.drop_path):
            return branch
        kept = F.dropout(branch.new_ones(branch.shape[0], 1, branch.shape[2]), self.dropout)
        if self.drop_path:
            kept = kept * F.dropout(branch.new_ones(branch.shape[0], 1, 1), self.drop_path)
        return branch * kept


class Mlp(nn.Module):
    """Linear, exact GELU, linear; with the post-norm of a text block where `norm_eps` is given."""

    def __init__(self, width: int, hidden: int, norm_eps: float | None = None) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        if norm_eps is not None:
            self.norm = nn.LayerNorm(width, eps=norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, tokens, width] -> the same shape."""
        return self.down(F.gelu(self.up(x)))


class SelfAttention(nn.Module):
    """Multi-head self-attention with one fused query, key and value projection."""

    def __init__(self, width: int, heads: int, norm_eps: float | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        if norm_eps is not None:
            self.norm = nn.LayerNorm(width, eps=norm_eps)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each [batch, heads, tokens, head width]."""
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        return split_heads(query, self.heads), split_heads(key, self.heads), split_heads(value, self.heads)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x: [batch, tokens, width]; mask: bool [batch, 1, tokens, tokens], True where a query may look."""
        query, key, value = self.project(x)
        return self.out(merge_heads(attend(query, key, value, mask)))


class CrossAttention(nn.Module):
    """Attention of text queries over the keys and values of an image, or of a question."""

    def __init__(self, width: int, image_width: int, heads: int, norm_eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(image_width, 2 * width)
        self.out = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=norm_eps)

    def keys_values(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """image: [images, tokens, image width] -> keys and values, each [images, heads, tokens, head width]."""
        key, value = self.key_value(image).chunk(2, dim=-1)
        return split_heads(key, self.heads), split_heads(value, self.heads)

    def forward(self, x: Tensor, keys_values: tuple[Tensor, Tensor], mask: Tensor | None = None) -> Tensor:
        """x: [rows, tokens, width], rows a multiple of images: consecutive rows share a picture, and are folded into
        the query axis so that its keys and values are read once. mask: as in `attend`."""
        key, value = keys_values
        images = key.shape[0]
        folded = self.query(x).reshape(images, -1, x.shape[-1])
        attended = attend(split_heads(folded, self.heads), key, value, mask)
        return self.out(merge_heads(attended).reshape(x.shape))


class VisionBlock(nn.Module):
    """Pre-norm transformer block of the ViT."""

    def __init__(self, config: VisionConfig, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.attention = SelfAttention(config.width, config.heads)
        self.norm2 = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.mlp = Mlp(config.width, config.mlp_width)
        self.residual = Residual(dropout, drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, tokens, width] -> the same shape."""
        x = x + self.residual(self.attention(self.norm1(x)))
        return x + self.residual(self.mlp(self.norm2(x)))


class TextBlock(nn.Module):
    """Post-norm BERT block: self-attention of one of two kinds, optional cross-attention, MLP."""

    encoder_attention: SelfAttention
    decoder_attention: SelfAttention
    cross_attention: CrossAttention

    def __init__(
        self, config: TextConfig, modes: tuple[Mode, ...], looked_at: int, dropout: float, drop_path: float
    ) -> None:
        super().__init__()
        eps = config.layer_norm_eps
        for mode in modes:
            self.add_module(f"{mode}_attention", SelfAttention(config.width, config.heads, eps))
        if looked_at:
            self.cross_attention = CrossAttention(config.width, looked_at, config.heads, eps)
        self.mlp = Mlp(config.width, config.mlp_width, eps)
        self.residual = Residual(dropout, drop_path)

    def forward(
        self,
        x: Tensor,
        mode: Mode,
        mask: Tensor,
        keys_values: tuple[Tensor, Tensor] | None = None,
        looked_at: Tensor | None = None,
    ) -> Tensor:
        """x: [rows, tokens, width]; mask: as in SelfAttention; keys_values, looked_at: as in `after_attention`."""
        attention = self.encoder_attention if mode == "encoder" else self.decoder_attention
        return self.after_attention(x, attention, attention(x, mask), keys_values, looked_at)

    def after_attention(
        self,
        x: Tensor,
        attention: SelfAttention,
        attended: Tensor,
        keys_values: tuple[Tensor, Tensor] | None,
        looked_at: Tensor | None = None,
    ) -> Tensor:
        """The rest of the block once self-attention is known (a cached decode computes that itself). looked_at: mask of
        the cross-attention, as in `attend`."""
        x = attention.norm(x + self.residual(attended))
        if keys_values is not None:
            x = self.cross_attention.norm(x + self.residual(self.cross_attention(x, keys_values, looked_at)))
        return self.mlp.norm(x + self.residual(self.mlp(x)))


class VisionEncoder(nn.Module):
    """Pixels to image tokens: a ViT, or MobileNetV2's last map under the same blocks.

    token_dropout: share of the image tokens, [CLS] aside, that each picture goes without in training (as in FLIP, Li et
    al. 2023): the text must not hang on one of them. recompute: as in `run_block`.
    """

    recompute = False

    def __init__(self, config: VisionConfig, dropout: float, drop_path: float, token_dropout: float = 0.0) -> None:
        super().__init__()
        self.config, self.token_dropout = config, token_dropout
        if config.kind == "vit":
            self.patch = nn.Conv2d(3, config.width, config.patch_size, config.patch_size)
        else:
            self.backbone = MobileNetV2()
            self.bridge = nn.Linear(1280, config.width)
        self.class_token = nn.Parameter(torch.zeros(config.width))
        self.positions = nn.Parameter(torch.zeros(config.tokens, config.width))
        self.blocks = nn.ModuleList(VisionBlock(config, dropout, drop_path) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, eps=config.layer_norm_eps)

    def forward(self, pixels: Tensor, start: int = 0) -> Tensor:
        """pixels: [batch, 3, size, size], or with `start` the input of that backbone layer. Returns [batch, tokens,
        width]."""
        if self.config.kind == "vit":
            x = self.patch(pixels).flatten(2).transpose(1, 2)
        else:
            x = self.bridge(self.backbone.run(pixels, start).flatten(2).transpose(1, 2))
        x = torch.cat([self.class_token.to(x.dtype).expand(x.shape[0], 1, -1), x], dim=1) + self.positions
        if self.training and self.token_dropout:
            x = self._thinned(x)
        for block in self.blocks:
            x = run_block(block, x, recompute=self.recompute)
        return self.norm(x)

    def _thinned(self, x: Tensor) -> Tensor:
        """[batch, tokens, width] -> fewer tokens, drawn for each picture; [CLS] stays first."""
        tokens = x.shape[1] - 1
        kept = max(1, round(tokens * (1 - self.token_dropout)))
        drawn = torch.rand(x.shape[0], tokens, device=x.device).argsort(dim=1)[:, :kept] + 1
        places = F.pad(drawn, (1, 0))
        return x.gather(1, places[..., None].expand(-1, -1, x.shape[2]))


class TextTransformer(nn.Module):
    """One transformer, three modes; see the module docstring. recompute: as in `run_block`."""

    recompute = False

    def __init__(
        self, config: TextConfig, modes: tuple[Mode, ...], looked_at: int, dropout: float, drop_path: float
    ) -> None:
        """looked_at: width of the states that the cross-attention reads; 0 for none."""
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.width)
        self.positions = nn.Embedding(config.max_positions, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.blocks = nn.ModuleList(
            TextBlock(config, modes, looked_at, dropout, drop_path) for _ in range(config.layers)
        )
        self.residual = Residual(dropout, 0.0)

    def embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """tokens, positions: [rows, length] -> [rows, length, width]."""
        return self.residual(self.norm(self.tokens(tokens) + self.positions(positions)))

    def keys_values(self, image: Tensor) -> KeysValues:
        """Cross-attention keys and values of every layer for image states [images, tokens, image width]."""
        return [cast(TextBlock, block).cross_attention.keys_values(image) for block in self.blocks]

    def forward(
        self,
        tokens: Tensor,
        lengths: Tensor,
        mode: Mode,
        keys_values: KeysValues | None = None,
        looked_at: Tensor | None = None,
    ) -> Tensor:
        """tokens: [rows, length] right-padded; lengths: [rows]. Returns hidden states [rows, length, width].

        With keys_values the rows must be a multiple of the images, consecutive rows sharing a picture. looked_at: which
        of the keys and values may be looked at, as in `attend`; all of them where it is None.
        """
        length = tokens.shape[1]
        steps = torch.arange(length, device=tokens.device)
        mask = (steps < lengths[:, None])[:, None, None, :]
        if mode == "decoder":
            mask = mask & (steps <= steps[:, None])
        x = self.embed(tokens, steps.expand_as(tokens))
        for index, block in enumerate(self.blocks):
            image = None if keys_values is None else keys_values[index]
            x = run_block(block, x, mode, mask, image, looked_at, recompute=self.recompute)
        return x


class LanguageModelHead(nn.Module):
    """BERT's prediction head; the output table is the token embedding (tied)."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden: Tensor, table: Tensor) -> Tensor:
        """hidden: [..., width]; table: [vocabulary, width]. Returns logits [..., vocabulary]."""
        return F.linear(self.norm(F.gelu(self.dense(hidden))), table, self.bias)


class ContrastiveHead(nn.Module):
    """Image and text projections onto the unit sphere and the learned temperature (ITC)."""

    def __init__(self, image_width: int, text_width: int, projection: int) -> None:
        super().__init__()
        self.image = nn.Linear(image_width, projection)
        self.text = nn.Linear(text_width, projection)
        self.temperature = nn.Parameter(torch.tensor(0.07))


class BlipModel(nn.Module):
    """The whole model, or as much of it as the tasks of its config need. `dropout`, `drop_path` and `token_dropout`
    only matter in training."""

    def __init__(
        self, config: ModelConfig, dropout: float = 0.0, drop_path: float = 0.0, token_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.config = config
        self.vision = VisionEncoder(config.vision, dropout, drop_path, token_dropout)
        looked_at = config.vision.width if config.grounded else 0
        self.text = TextTransformer(config.text, config.modes, looked_at, dropout, drop_path)
        if "caption" in config.tasks:
            self.lm = LanguageModelHead(config.text)
        if "answer" in config.tasks:
            self.answer = TextTransformer(config.answer_text, ("decoder",), config.text.width, dropout, drop_path)
            self.answer_lm = LanguageModelHead(config.text)
        if "embed" in config.tasks:
            self.itc = ContrastiveHead(config.vision.width, config.text.width, config.projection)
        if "match" in config.tasks:
            self.itm = nn.Linear(config.text.width, 2)

    def initialise(self, std: float = 0.02) -> None:
        """Normal weights, zero biases, unit norms, as BERT and ViT start; backbone convolutions keep theirs.

        std is that of a 768 wide layer and grows with 1 / sqrt(inputs): at a width of 256 a plain 0.02 leaves attention
        so weak that [CLS] looks the same over every text, and the contrast collapses before it starts.
        """
        for name, parameter in self.named_parameters():
            if ".backbone." in name or name == "itc.temperature":
                continue
            if name.endswith(("tokens.weight", "positions.weight", "positions", "class_token")):
                nn.init.trunc_normal_(parameter, std=std)
            elif parameter.ndim >= 2:
                nn.init.trunc_normal_(parameter, std=std * (768 / parameter[0].numel()) ** 0.5)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.ones_(parameter)

    @torch.no_grad()
    def start_encoder_from_decoder(self, std: float = 0.02) -> None:
        """Copy the decoder's self-attention to the encoder's and draw the ITC and ITM heads anew. std: as in
        `initialise`."""
        for module in self.text.blocks:
            block = cast(TextBlock, module)
            block.encoder_attention.load_state_dict(block.decoder_attention.state_dict())
        for head in (self.itc.image, self.itc.text, self.itm):
            nn.init.trunc_normal_(head.weight, std=std * (768 / head.in_features) ** 0.5)
            nn.init.zeros_(head.bias)
        self.itc.temperature.fill_(0.07)

    def embed_image(self, states: Tensor) -> Tensor:
        """Image states [batch, tokens, width] -> unit vectors [batch, projection]."""
        return F.normalize(self.itc.image(states[:, 0]).float(), dim=-1)

    def embed_text(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Texts that start with [CLS], [rows, length] -> unit vectors [rows, projection]."""
        return F.normalize(self.itc.text(self.text(tokens, lengths, "encoder")[:, 0]).float(), dim=-1)

    def match(self, tokens: Tensor, lengths: Tensor, keys_values: KeysValues) -> Tensor:
        """Texts that start with [ENC], [rows, length] -> ITM logits [rows, 2]."""
        return self.itm(self.text(tokens, lengths, "encoder", keys_values)[:, 0])

    def next_token_logits(self, hidden: Tensor) -> Tensor:
        """Decoder states [..., width] -> logits [..., vocabulary]."""
        return self.lm(hidden, self.text.tokens.weight)


def take_images(keys_values: KeysValues, indices: Tensor) -> KeysValues:
    """The keys and values of the chosen images, in that order."""
    return [(key[indices], value[indices]) for key, value in keys_values]
