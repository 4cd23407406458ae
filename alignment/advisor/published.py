"""Runs whose hours their authors printed, and what the estimate says of each: the error of the model of hours.

Only runs whose model, tokens and GPUs are printed as well. Pretraining stands for passes alone, which is what SFT is;
the PPO runs of DeepSpeed-Chat draw, score and learn. Shares of the peak are `TRAINED` and `DRAWN` for all.
"""

from __future__ import annotations

from dataclasses import dataclass

from alignment.advisor.gpus import Gpu, read_cluster
from alignment.advisor.work import BF16, Draws, Network, Passes, Rates, Setup, seconds

TRAINED = 0.35
"""Share of the peak of products that passes reach, about the geometric mean of the runs below."""
DRAWN = 0.5
"""Share of the bandwidth that drawing reaches; that of DeepSpeed-Chat's runs cannot be told from their passes."""
LOW, HIGH = 0.6, 2.0
"""Factors of the hours: of the runs below all but one lie between them."""


@dataclass(frozen=True, kw_only=True)
class PublishedRun:
    """A run with its printed hours.

    Attributes:
        name: method and model.
        gpus: as `alignment.advisor.gpus.read_cluster` takes them; 1 where hours are those of all GPUs together.
        hours: printed; of a range its geometric mean.
        work: what was computed.
        rows_drawn: completions drawn at once on a GPU.
        source: where all that is printed.
    """

    name: str
    gpus: str
    hours: float
    work: tuple[Passes | Draws, ...]
    source: str
    rows_drawn: float = 64.0

    @property
    def estimate(self) -> float:
        """Hours by the model."""
        cluster = read_cluster(self.gpus)
        setup = Setup(gpus=cluster.number, rows_drawn=self.rows_drawn)
        return seconds(self.work, data_sheet_rates(cluster.gpu), setup) / 3600

    @property
    def ratio(self) -> float:
        """Printed hours over estimated ones."""
        return self.hours / self.estimate


def data_sheet_rates(gpu: Gpu) -> Rates:
    """The shares above of what a data sheet says."""
    source = f"{TRAINED:.0%} of {gpu.flops / 1e12:,.0f} TFLOP/s in passes, {DRAWN:.0%} of {gpu.bandwidth / 1e9:,.0f}"
    return Rates(
        flops=TRAINED * gpu.flops,
        bandwidth=DRAWN * gpu.bandwidth,
        link=gpu.link,
        low=LOW,
        high=HIGH,
        source=f"{source} GB/s while drawing ({gpu.source})",
    )


def _network(billions: float, num_layers: int, width: int) -> Network:
    """All weights go through every token; keys and values of all heads in bf16."""
    cache = 2 * BF16 * num_layers * width
    return Network(
        num_layer_weights=billions * 1e9, num_head_weights=0, num_layers=num_layers, width=width, cache_per_token=cache
    )


def _pretraining(
    name: str, gpu_hours: float, trillions: float, length: int, network: Network, source: str, gpu: str
) -> PublishedRun:
    tokens = trillions * 1e12
    work = Passes(network=network, kind="train", tokens=tokens, head_tokens=tokens, length=length)
    return PublishedRun(name=f"pretraining, {name}", gpus=f"1x{gpu}", hours=gpu_hours, work=(work,), source=source)


def _deepspeed_chat(name: str, gpus: str, hours: float, network: Network) -> PublishedRun:
    """PPO, one epoch over queries of 256 tokens, answers of 256; 1,024 a step. Reward and critic are OPT-350M.

    Their number is that of the printed tokens, 67.5M of queries and 67.5M of answers; the 131.9k that are printed
    beside it would be half of them, and halve the estimate. Passes: log-probabilities of actor and reference, the
    actor's training; those of the 350M models, alike.
    """
    prompts, length = 67.5e6 / 256, 512
    tokens, small = prompts * length, _network(0.331, 24, 1024)

    def passes(network: Network, kind: str) -> Passes:
        return Passes(network=network, kind=kind, tokens=tokens, head_tokens=tokens, length=length)  # pyright: ignore

    work = (
        Draws(network=network, prompts=prompts, group=1, prompt_tokens=256, new_tokens=256),
        *(passes(network, kind) for kind in ("forward", "forward", "train")),
        *(passes(small, kind) for kind in ("forward", "forward", "train")),
    )
    return PublishedRun(
        name=f"PPO, {name}",
        gpus=gpus,
        hours=hours,
        work=work,
        rows_drawn=1024 / int(gpus.partition("x")[0]),
        source="DeepSpeed-Chat, Yao et al. 2023 (arXiv 2308.01320), tables of step 3 on one node and on many",
    )


OPT = {
    "OPT-6.7B": _network(6.66, 32, 4096),
    "OPT-13B": _network(12.9, 40, 5120),
    "OPT-30B": _network(30.0, 48, 7168),
    "OPT-66B": _network(65.7, 64, 9216),
    "OPT-175B": _network(175.0, 96, 12288),
}
_LLAMA = "LLaMA, Touvron et al. 2023a (arXiv 2302.13971), tables 2 and 15"
_LLAMA_2 = "Llama 2, Touvron et al. 2023b (arXiv 2307.09288), table 2"
_LLAMA_3 = "model card of Llama 3.1, 2024: training time in GPU hours, 15T tokens"
# 61,966 pairs three times, a prompt of 185.1 and a response of 305.3 tokens on average; policy and live reference.
_ZEPHYR_TOKENS, _ZEPHYR = 3 * 61_966 * 2 * 490.4, _network(7.24, 32, 4096)

PUBLISHED: tuple[PublishedRun, ...] = (
    _pretraining("LLaMA 7B", 82_432, 1.0, 2048, _network(6.7, 32, 4096), _LLAMA, "A100-80"),
    _pretraining("LLaMA 13B", 135_168, 1.0, 2048, _network(13.0, 40, 5120), _LLAMA, "A100-80"),
    _pretraining("LLaMA 33B", 530_432, 1.4, 2048, _network(32.5, 60, 6656), _LLAMA, "A100-80"),
    _pretraining("LLaMA 65B", 1_022_362, 1.4, 2048, _network(65.2, 80, 8192), _LLAMA, "A100-80"),
    _pretraining("Llama 2 7B", 184_320, 2.0, 4096, _network(6.74, 32, 4096), _LLAMA_2, "A100-80"),
    _pretraining("Llama 2 13B", 368_640, 2.0, 4096, _network(13.0, 40, 5120), _LLAMA_2, "A100-80"),
    _pretraining("Llama 2 70B", 1_720_320, 2.0, 4096, _network(69.0, 80, 8192), _LLAMA_2, "A100-80"),
    _pretraining("Llama 3.1 8B", 1.46e6, 15.0, 8192, _network(8.03, 32, 4096), _LLAMA_3, "H100-80"),
    _pretraining("Llama 3.1 70B", 7.0e6, 15.0, 8192, _network(70.6, 80, 8192), _LLAMA_3, "H100-80"),
    _pretraining("Llama 3.1 405B", 30.84e6, 15.0, 8192, _network(405.0, 126, 16384), _LLAMA_3, "H100-80"),
    PublishedRun(
        name="DPO, Zephyr 7B",
        gpus="16xA100-80",
        hours=8**0.5,  # "2-4 hours"
        work=tuple(
            Passes(
                network=_ZEPHYR,
                kind=kind,
                tokens=_ZEPHYR_TOKENS,
                head_tokens=_ZEPHYR_TOKENS,
                length=490,
                recomputes=True,
            )
            for kind in ("forward", "train")
        ),
        source="Zephyr, Tunstall et al. 2023 (arXiv 2310.16944), section 4, and its model card; lengths of texts: "
        "UltraFeedback, Cui et al. 2023 (arXiv 2310.01377), table 1",
    ),
    _deepspeed_chat("OPT-6.7B", "8xA100-40", 5.7, OPT["OPT-6.7B"]),
    _deepspeed_chat("OPT-13B", "8xA100-40", 10.8, OPT["OPT-13B"]),
    _deepspeed_chat("OPT-30B", "8xA100-40", 44.4, OPT["OPT-30B"]),  # 1.85 days
    _deepspeed_chat("OPT-6.7B", "8xA100-80", 4.1, OPT["OPT-6.7B"]),
    _deepspeed_chat("OPT-13B", "8xA100-80", 9.0, OPT["OPT-13B"]),
    _deepspeed_chat("OPT-30B", "8xA100-80", 18.0, OPT["OPT-30B"]),
    _deepspeed_chat("OPT-66B", "8xA100-80", 50.4, OPT["OPT-66B"]),  # 2.1 days
    _deepspeed_chat("OPT-13B", "64xA100-80", 1.25, OPT["OPT-13B"]),
    _deepspeed_chat("OPT-30B", "64xA100-80", 4.0, OPT["OPT-30B"]),
    _deepspeed_chat("OPT-66B", "64xA100-80", 7.5, OPT["OPT-66B"]),
    _deepspeed_chat("OPT-175B", "64xA100-80", 20.0, OPT["OPT-175B"]),
)
