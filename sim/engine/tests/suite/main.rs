//! The engine on the simulated device and on host memory: small runs whose every number can be followed.
//!
//! | module | what must hold |
//! |---|---|
//! | `admission` | hand-summed timelines of turns that are withheld, ordered, limited and preempted by the policy |
//! | `closed_forms` | hand-summed timelines |
//! | `copies` | hand-summed timelines of swap-outs, restores and prefetches |
//! | `disk` | hand-summed timelines of the disk behind the host |
//! | `disk_policies` | the policies that use it |
//! | `golden` | decision logs of ten events, one per policy |
//! | `random` | single steps, decode runs and host memory agree; accounts close; nothing depends on being watched |
//! | `metamorphic` | what a change of the input may and may not change |
//! | `offload` | hand-summed timelines of vLLM's host tier |
//! | `partial` | the end of a session's KV leaves, the beginning returns, so many bytes per step |
//! | `queueing` | mean waits of M/D/1, M/M/1, M/G/1 |
//! | `signals` | hints, ends, soft pins |
//! | `families` | sub-agents, joins, open loop |
//! | `faults` | each injected defect changes what it should |
//! | `canary` | broken devices and illegal answers are caught |

mod accounts;
mod admission;
mod canary;
mod closed_forms;
mod common;
mod copies;
mod disk;
mod disk_policies;
mod families;
mod faults;
mod golden;
mod metamorphic;
mod offload;
mod partial;
mod prices;
mod queueing;
mod random;
mod scripted;
mod signals;
