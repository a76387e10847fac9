//! What can be wrong with a profile or a model.

use model::Bytes;

/// Why a profile or a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// No such name is shipped, and no such file exists.
    #[error("no {kind} is called `{name}`; known: {known}; a path to a .toml file does as well")]
    Unknown {
        /// Hardware profile or model.
        kind: &'static str,
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A profile has no such link variant.
    #[error("hardware profile `{profile}` has no link variant `{variant}`; known: {known}")]
    UnknownVariant {
        /// The profile.
        profile: String,
        /// What was asked for.
        variant: String,
        /// What there is.
        known: String,
    },
    /// A file cannot be read.
    #[error("cannot read {file}: {source}; name a file that exists, or a shipped profile")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file says something that makes no sense.
    #[error("{file}:{line}: `{key}`: {message}")]
    Invalid {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Path of the key, `.` for the whole file.
        key: String,
        /// What is wrong, and what would do.
        message: String,
    },
    /// The weights leave no room for KV.
    #[error(
        "the model does not fit: of {usable} B usable HBM, weights take {weights} B and activations {reserve} B, \
         and one KV block needs {block} B; take a larger card, a smaller model, or raise `utilisation` or `hbm_gib`"
    )]
    DoesNotFit {
        /// HBM after cap and utilisation.
        usable: u64,
        /// Weights.
        weights: u64,
        /// Kept for activations.
        reserve: u64,
        /// One block.
        block: u64,
    },
    /// A share of HBM that is none.
    #[error("a utilisation of {0} ppm is not in 1..=1000000")]
    Utilisation(u32),
}

impl ProfileError {
    pub(crate) fn does_not_fit(
        usable: Bytes,
        weights: Bytes,
        reserve: Bytes,
        block: Bytes,
    ) -> Self {
        Self::DoesNotFit {
            usable: usable.0,
            weights: weights.0,
            reserve: reserve.0,
            block: block.0,
        }
    }
}
