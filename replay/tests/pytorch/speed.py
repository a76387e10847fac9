"""The shapes of `model-check speed` in PyTorch, for comparison on the same card: speed.py [OUTPUT.csv]

Llama-2-7B geometry with random bf16 weights, fused projections, scaled_dot_product_attention over a contiguous KV cache. Decode steps run in
CUDA graphs, as `model-check` runs them; medians of five runs of steps in a row.
"""

import statistics
import sys

import torch

LAYERS, HIDDEN, INNER, HEADS, DIM, VOCAB = 32, 4096, 11008, 32, 128, 32000
device, dtype = "cuda", torch.bfloat16


def random(*shape):
    return torch.empty(*shape, device=device, dtype=dtype).uniform_(-0.02, 0.02)


class Layer:
    def __init__(self):
        self.qkv, self.output = random(3 * HIDDEN, HIDDEN), random(HIDDEN, HIDDEN)
        self.gate_up, self.down = random(2 * INNER, HIDDEN), random(HIDDEN, INNER)
        self.norms = torch.ones(2, HIDDEN, device=device, dtype=dtype)


layers = [Layer() for _ in range(LAYERS)]
embedding, output, last_norm = random(VOCAB, HIDDEN), random(VOCAB, HIDDEN), torch.ones(HIDDEN, device=device, dtype=dtype)
linear, functional = torch.nn.functional.linear, torch.nn.functional


def rotate(x, cos, sin):
    first, second = x[..., : DIM // 2], x[..., DIM // 2 :]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def step(tokens, positions, caches, past):
    """tokens [batch][count]; the caches [batch][heads][context][dim] hold `past` tokens, and room for the new ones."""
    batch, count = tokens.shape
    frequency = 10000.0 ** (-torch.arange(0, DIM, 2, device=device).float() / DIM)
    angle = positions.float()[:, None] * frequency
    cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
    hidden = embedding[tokens]
    for layer, (keys, values) in zip(layers, caches):
        x = functional.rms_norm(hidden, (HIDDEN,), layer.norms[0], 1e-5)
        q, k, v = linear(x, layer.qkv).view(batch, count, 3, HEADS, DIM).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        keys[:, :, past : past + count] = k
        values[:, :, past : past + count] = v
        attended = functional.scaled_dot_product_attention(
            q, keys[:, :, : past + count], values[:, :, : past + count], is_causal=count > 1
        )
        hidden = hidden + linear(attended.transpose(1, 2).reshape(batch, count, HIDDEN), layer.output)
        x = functional.rms_norm(hidden, (HIDDEN,), layer.norms[1], 1e-5)
        gate, up = linear(x, layer.gate_up).chunk(2, -1)
        hidden = hidden + linear(functional.silu(gate) * up, layer.down)
    logits = linear(functional.rms_norm(hidden[:, -1], (HIDDEN,), last_norm, 1e-5), output)
    return logits.argmax(-1)


def median(run, count):
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    times = []
    for _ in range(5):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(count):
            run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / count)
    return statistics.median(times)


def caches(batch, context):
    return [tuple(random(batch, HEADS, context, DIM) for _ in range(2)) for _ in range(LAYERS)]


rows = [f"# device: {torch.cuda.get_device_name()}; PyTorch {torch.__version__}", "kind,sequences,tokens,context,nanos"]
with torch.no_grad():
    for batch, context in [(1, 1024), (8, 1024), (16, 1024), (32, 1024), (64, 1024), (128, 1024), (32, 4096)]:
        cache = caches(batch, context)
        tokens = torch.zeros(batch, 1, device=device, dtype=torch.long)
        positions = torch.full((1,), context - 1, device=device)
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            step(tokens, positions, cache, context - 1)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step(tokens, positions, cache, context - 1)
        rows.append(f"decode,{batch},{batch},{context},{median(graph.replay, 20) * 1e6:.0f}")
        print(rows[-1], flush=True)
        del cache, graph
        torch.cuda.empty_cache()
    for count in (512, 2048, 8192):
        cache = caches(1, count)
        tokens = torch.arange(count, device=device)[None] % VOCAB
        positions = torch.arange(count, device=device)
        rows.append(f"prefill,1,{count},{count},{median(lambda: step(tokens, positions, cache, 0), 5) * 1e6:.0f}")
        print(rows[-1], flush=True)
        del cache
        torch.cuda.empty_cache()
if len(sys.argv) > 1:
    with open(sys.argv[1], "w") as file:
        file.write("\n".join(rows) + "\n")
