//! The three contradictions: who is compared with whom, over what, and what was published.
//!
//! Published ratios are quoted from the papers and threads named; machines, models and workloads there are other than here, so that only the
//! side of 1 is comparable.

use super::{Claim, Metric, PanelSpec, Series, Spec};

/// Pause whole programs (ThunderAgent), or pin KV for a while (Continuum)?
///
/// Continuum (arXiv 2511.02230 v6, OpenHands): 144.9 against ThunderAgent's 114.8 steps/min. ThunderAgent (arXiv 2602.13692): 1.17 to 3.31
/// times Continuum's throughput.
pub const PAUSING: Spec = Spec {
    name: "contradiction_pausing",
    needs: "sweeps in `pausing-waits` and `pausing-programs` (configs/experiments/contradiction-pausing-*.toml)",
    reference: "thunderagent-release",
    series: &[
        Series {
            policy: "continuum-release",
            label: "Continuum, release",
        },
        Series {
            policy: "continuum-paper",
            label: "Continuum, paper",
        },
        Series {
            policy: "continuum-dynamic",
            label: "Continuum, MARS's port",
        },
        Series {
            policy: "thunderagent-decay",
            label: "ThunderAgent, decay on",
        },
        Series {
            policy: "thunderagent-release[forced_s=1000000]",
            label: "ThunderAgent, no forced resume",
        },
    ],
    panels: &[
        PanelSpec {
            folder: "pausing-waits",
            key: "workload.params.gap_cap_s",
            x_title: "longest tool call [s]",
            metric: Metric::Throughput,
            above: "ahead of ThunderAgent",
            below: "behind ThunderAgent",
            claims: &[],
        },
        PanelSpec {
            folder: "pausing-programs",
            key: "workload.sessions",
            x_title: "sessions at once",
            metric: Metric::Throughput,
            above: "ahead of ThunderAgent",
            below: "behind ThunderAgent",
            claims: &[
                Claim {
                    source: "Continuum",
                    low: 144.9 / 114.8,
                    high: 144.9 / 114.8,
                },
                Claim {
                    source: "ThunderAgent",
                    low: 1.0 / 3.31,
                    high: 1.0 / 1.17,
                },
            ],
        },
    ],
};

/// Does a host tier help?
///
/// vLLM (blog of 2026-01-08): up to 9 times the throughput. MORI (arXiv 2606.00866): 20 to 71 % more. ThunderAgent: with offload to the host,
/// 111 steps/min at 24 programs fall to 40 at 96, and hits from 88 to 2 %.
pub const OFFLOAD: Spec = Spec {
    name: "contradiction_offload",
    needs: "sweeps in `offload-host` and `offload-programs` (configs/experiments/contradiction-offload-*.toml)",
    reference: "vllm-recompute",
    series: &[
        Series {
            policy: "vllm-offload",
            label: "vLLM with a host tier",
        },
        Series {
            policy: "thunderagent-release",
            label: "ThunderAgent: pausing, no host tier",
        },
        Series {
            policy: "mori",
            label: "MORI: both",
        },
        Series {
            policy: "hicache-wt",
            label: "SGLang's HiCache, write-through",
        },
    ],
    panels: &[
        PanelSpec {
            folder: "offload-host",
            key: "memory.host_gib",
            x_title: "host memory [GiB]",
            metric: Metric::Throughput,
            above: "faster than vLLM without a host tier",
            below: "slower",
            claims: &[],
        },
        PanelSpec {
            folder: "offload-programs",
            key: "workload.sessions",
            x_title: "sessions at once",
            metric: Metric::Throughput,
            above: "faster than vLLM without a host tier",
            below: "slower",
            claims: &[Claim {
                source: "vLLM: offload",
                low: 1.0,
                high: 9.0,
            }],
        },
    ],
};

/// Does it help to hold KV through a wait?
///
/// Continuum: mean delay 1.12 to 3.66 times lower. AgentServeSim (arXiv 2606.09613): mean completion time 2,314 s under Continuum, 1,941 s
/// under LRU. Retain experiment on vLLM and Dynamo, with true times to live: P99 TTFT from 1,045 to 1,270 ms.
pub const TTL: Spec = Spec {
    name: "contradiction_ttl",
    needs: "a sweep in `ttl-programs` (configs/experiments/contradiction-ttl-programs.toml)",
    reference: "vllm-recompute",
    series: &[
        Series {
            policy: "continuum-release",
            label: "2 s, session order (Continuum)",
        },
        Series {
            policy: "continuum-release[session_order=no]",
            label: "2 s, turn order",
        },
        Series {
            policy: "continuum-release[pin_s=600,mean_max_s=600]",
            label: "until the return, session order",
        },
        Series {
            policy: "continuum-release[pin_s=600,mean_max_s=600,session_order=no]",
            label: "until the return, turn order",
        },
        Series {
            policy: "continuum-release[pin_s=0]",
            label: "no pin, session order",
        },
    ],
    panels: &[
        PanelSpec {
            folder: "ttl-programs",
            key: "workload.sessions",
            x_title: "sessions at once",
            metric: Metric::Completion,
            above: "slower than LRU",
            below: "faster than LRU",
            claims: &[
                Claim {
                    source: "Continuum",
                    low: 1.0 / 3.66,
                    high: 1.0 / 1.12,
                },
                Claim {
                    source: "AgentServeSim",
                    low: 2_314.0 / 1_941.0,
                    high: 2_314.0 / 1_941.0,
                },
            ],
        },
        PanelSpec {
            folder: "ttl-programs",
            key: "workload.sessions",
            x_title: "sessions at once",
            metric: Metric::WakeupP99,
            above: "slower than LRU",
            below: "faster than LRU",
            claims: &[Claim {
                source: "retain",
                low: 1_270.0 / 1_045.0,
                high: 1_270.0 / 1_045.0,
            }],
        },
    ],
};

/// All, in the order of the paper.
pub const ALL: [&Spec; 3] = [&PAUSING, &OFFLOAD, &TTL];
