//! Names of things. Ids are dense from 0, so they index vectors; none carries meaning beyond that.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($repr:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $repr);

        impl $name {
            /// As an index into a vector.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A session: one agent's run. Numbered in the order in which the workload yields them.
    SessionId(u32)
);
id!(
    /// A turn (one LLM call) within its session, from 0.
    TurnIndex(u32)
);
id!(
    /// The class of the tool that a session waits for; names are in the workload.
    ToolClass(u16)
);
id!(
    /// An operation given to a device. Never reused within a run.
    OpId(u64)
);
id!(
    /// A line of descent of KV content: blocks of one lineage at one index are equal.
    LineageId(u32)
);

/// What a KV block holds: block `index` of `lineage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentId {
    /// The line of descent.
    pub lineage: LineageId,
    /// Block within it, from 0.
    pub index: u32,
}

/// Where KV can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// GPU memory.
    Hbm,
    /// Pinned host memory.
    Host,
    /// A disk behind host memory.
    Disk,
}

/// The ways between neighbouring tiers: two over the host link, two between host memory and the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From GPU memory to host memory: swap-out, write-back.
    D2h,
    /// From host memory to GPU memory: swap-in, prefetch.
    H2d,
    /// From host memory to the disk: demotion, backup.
    DiskWrite,
    /// From the disk to host memory: promotion.
    DiskRead,
}

impl Direction {
    /// All, in the order of [`Self::index`].
    pub const ALL: [Self; 4] = [Self::D2h, Self::H2d, Self::DiskWrite, Self::DiskRead];

    /// Both ways over the host link, in the order in which results list them.
    pub const LINK: [Self; 2] = [Self::D2h, Self::H2d];

    /// 0 for D2H, 1 for H2D, then those of the disk: an index into per-lane arrays.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The other way.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::D2h => Self::H2d,
            Self::H2d => Self::D2h,
            Self::DiskWrite => Self::DiskRead,
            Self::DiskRead => Self::DiskWrite,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::D2h => "D2H",
            Self::H2d => "H2D",
            Self::DiskWrite => "disk-write",
            Self::DiskRead => "disk-read",
        })
    }
}
