//! The figures by name, each with its claim, what it needs, and how it is made.

use crate::contradiction::{self, specs};
use crate::{
    FigureError, policy_heat, policy_places, seed_table, timeline, trace_stat, validation,
    validation_policies, wakeup_breakdown, wakeup_cdf, wakeup_vs_agents,
};
use std::path::{Path, PathBuf};

/// A figure that can be made from a folder of results.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Its name and the stem of its files.
    pub name: &'static str,
    /// What it shows, in one sentence; whether that holds is for the reader to see.
    pub claim: &'static str,
    /// What the folder must hold.
    pub needs: &'static str,
    make: fn(&Path, &Path) -> Result<Vec<PathBuf>, FigureError>,
}

/// Every figure, in the order in which they are made.
pub const ALL: [Figure; 13] = [
    Figure {
        name: wakeup_cdf::NAME,
        claim: "The policy decides the tail of the wake-up latency far more than its median.",
        needs: wakeup_cdf::NEEDS,
        make: wakeup_cdf::make,
    },
    Figure {
        name: wakeup_vs_agents::NAME,
        claim: "How many agents one GPU carries before wake-ups become slow depends on the policy.",
        needs: wakeup_vs_agents::NEEDS,
        make: wakeup_vs_agents::make,
    },
    Figure {
        name: wakeup_breakdown::NAME,
        claim: "The slowest wake-ups spend their time elsewhere than the average one.",
        needs: wakeup_breakdown::NEEDS,
        make: wakeup_breakdown::make,
    },
    Figure {
        name: timeline::NAME,
        claim: "Memory held for idle sessions and link traffic follow the policy's decisions over time.",
        needs: timeline::NEEDS,
        make: timeline::make,
    },
    Figure {
        name: seed_table::NAME,
        claim: "Which numbers of the original evaluation follow from its own rules, over many seeds.",
        needs: seed_table::NEEDS,
        make: seed_table::make,
    },
    Figure {
        name: trace_stat::NAME,
        claim: "Most waits of a workload are short, and most of its idle time lies in the few long ones.",
        needs: trace_stat::NEEDS,
        make: trace_stat::make,
    },
    Figure {
        name: validation::NAME,
        claim: "The simulator's times are those of the GPU, operation by operation and wake-up by wake-up.",
        needs: validation::NEEDS,
        make: validation::make,
    },
    Figure {
        name: validation_policies::NAME,
        claim: "What the simulator says of a policy is what the GPU measures, but for a few per cent where sessions queue.",
        needs: validation_policies::NEEDS,
        make: validation_policies::make,
    },
    Figure {
        name: policy_heat::NAME,
        claim: "What a policy gains depends on workload and load more than on its name; none is the best everywhere.",
        needs: policy_heat::NEEDS,
        make: policy_heat::make,
    },
    Figure {
        name: policy_places::NAME,
        claim: "Few policies are in front in more than one workload, and many cannot be told apart.",
        needs: policy_places::NEEDS,
        make: policy_places::make,
    },
    Figure {
        name: specs::PAUSING.name,
        claim: "Whether pausing programs or pinning KV gives more throughput depends on the longest tool calls, and on how many programs wait.",
        needs: specs::PAUSING.needs,
        make: |folder, out| contradiction::make(&specs::PAUSING, folder, out),
    },
    Figure {
        name: specs::OFFLOAD.name,
        claim: "A host tier helps where HBM and host together hold the KV of all programs, and does nothing or harm far from there.",
        needs: specs::OFFLOAD.needs,
        make: |folder, out| contradiction::make(&specs::OFFLOAD, folder, out),
    },
    Figure {
        name: specs::TTL.name,
        claim: "To hold KV through a wait helps where sessions run in order of arrival; in order of turns it harms as soon as memory is short.",
        needs: specs::TTL.needs,
        make: |folder, out| contradiction::make(&specs::TTL, folder, out),
    },
];

impl Figure {
    /// Reads the results in `folder` and writes the figure's files into `out`; returns their paths.
    ///
    /// # Errors
    /// [`FigureError::Missing`] if the folder does not hold what it needs; else what is wrong with it.
    pub fn make(&self, folder: &Path, out: &Path) -> Result<Vec<PathBuf>, FigureError> {
        (self.make)(folder, out)
    }
}

/// The figure of that name.
pub fn by_name(name: &str) -> Option<&'static Figure> {
    ALL.iter().find(|figure| figure.name == name)
}
