"""Holds the logits of `model-check logits FOLDER` against PyTorch: logits.py FOLDER

Every sequence is computed in one piece: no cache, no chunks, no batch. Weights are made here from the list in NAME.json by the generator
that kernels/src/random.cu describes. Compared in float32 (exit code 1 if a row of logits differs by more than 2e-2 of its norm), and printed
beside what PyTorch itself loses in bf16.
"""

import json
import pathlib
import sys

import numpy
import torch

BOUND = 2e-2


def mix(x):
    """SplitMix64's step and finaliser, on arrays of uint64."""
    x = x + numpy.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    return x ^ (x >> numpy.uint64(31))


def weight(tensor, device):
    """Element i is (u * 2^-23 - 1) * bound in float32, rounded to bf16; u is the upper 24 bits of mix(mix(seed) + i)."""
    count = tensor["rows"] * tensor["columns"]
    key = mix(numpy.array([tensor["seed"]], dtype=numpy.uint64))
    draw = mix(key + numpy.arange(count, dtype=numpy.uint64)) >> numpy.uint64(40)
    value = draw.astype(numpy.float32) * numpy.float32(2**-23) - numpy.float32(1)
    value = torch.from_numpy(value * numpy.float32(tensor["bound"])).to(torch.bfloat16)
    return value.reshape(tensor["rows"], tensor["columns"]).to(device)


def norm(x, weight, epsilon):
    wide = x.float()
    scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)
    return (wide * scale * weight.float()).to(x.dtype)


def rotate(x, spec):
    """x is [heads][tokens][head_dim]; pairs are (i, i + head_dim / 2)."""
    half = spec["head_dim"] // 2
    index = torch.arange(half, device=x.device, dtype=torch.float64)
    frequency = (spec["rope_base"] ** (-2.0 * index / spec["head_dim"])).float()
    angle = torch.arange(x.shape[1], device=x.device).float()[:, None] * frequency
    cos, sin = angle.cos(), angle.sin()
    first, second = x[..., :half].float(), x[..., half:].float()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1).to(x.dtype)


def logits(spec, weights, tokens, dtype):
    """Logits of every position of one sequence."""
    of = {name: value.to(dtype) for name, value in weights.items()}
    heads, kv_heads, dim = spec["q_heads"], spec["kv_heads"], spec["head_dim"]
    count = len(tokens)
    hidden = of["embedding"][torch.tensor(tokens, device=of["embedding"].device)]
    for layer in range(spec["layers"]):
        name = f"layers.{layer}."
        x = norm(hidden, of[name + "attention_norm"], spec["epsilon"]) @ of[name + "qkv"].T
        if spec["qkv_bias"]:
            x = x + of[name + "bias"]
        x = x.reshape(count, heads + 2 * kv_heads, dim).transpose(0, 1)
        q, k, v = x[:heads], x[heads : heads + kv_heads], x[heads + kv_heads :]
        if spec["qk_norm"]:
            weight_q, weight_k = of[name + "head_norm"]
            q, k = norm(q, weight_q, spec["epsilon"]), norm(k, weight_k, spec["epsilon"])
        q, k = rotate(q, spec), rotate(k, spec)
        k, v = (y.repeat_interleave(heads // kv_heads, 0) for y in (k, v))
        attended = torch.nn.functional.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]
        hidden = hidden + attended.transpose(0, 1).reshape(count, heads * dim) @ of[name + "output"].T
        x = norm(hidden, of[name + "mlp_norm"], spec["epsilon"]) @ of[name + "gate_up"].T
        # Eight of gate, eight of up.
        gate, up = x.reshape(count, -1, 2, 8).unbind(2)
        gated = (torch.nn.functional.silu(gate) * up).reshape(count, -1)
        hidden = hidden + gated @ of[name + "down"].T
    output = of["embedding"] if spec["tied_embeddings"] else of["logits"]
    return (norm(hidden, of["norm"], spec["epsilon"]) @ output.T).float()


def main(folder):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = False
    worst = 0.0
    for path in sorted(pathlib.Path(folder).glob("*.json")):
        spec = json.loads(path.read_text())
        have = numpy.fromfile(path.with_suffix(".f32"), dtype="<f4").reshape(-1, spec["vocab"])
        have = torch.from_numpy(have).to(device)
        assert len(have) == len(spec["rows"])
        weights = {tensor["name"]: weight(tensor, device) for tensor in spec["weights"]}
        want, rounded = (
            [logits(spec, weights, tokens, dtype) for tokens in spec["sequences"]]
            for dtype in (torch.float32, torch.bfloat16)
        )
        errors, torch_errors = [], []
        for row, (sequence, position) in zip(have, spec["rows"]):
            reference = want[sequence][position]
            errors.append(((row - reference).norm() / reference.norm()).item())
            torch_errors.append(((rounded[sequence][position] - reference).norm() / reference.norm()).item())
        # NaN is no number below a bound.
        worst = max([worst] + [error if error == error else float("inf") for error in errors])
        print(
            f"{path.stem}: {len(errors)} rows of logits, relative error at most {max(errors):.2e}, "
            f"mean {sum(errors) / len(errors):.2e}; PyTorch in bf16: {max(torch_errors):.2e}, {sum(torch_errors) / len(errors):.2e}"
        )
    print(f"worst {worst:.2e}, bound {BOUND:.0e}: {'ok' if worst <= BOUND else 'FAILED'}")
    return 0 if worst <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
