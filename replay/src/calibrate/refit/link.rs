//! The link of a profile fitted again, to the copies that its calibration timed.
//!
//! Copies alone are in `FILE.copies.csv`. What they took beside others is not, but the profile says what that was more: it stays.

use super::super::lane_fit::{self, LaneFit};
use super::super::lanes::{BesideTimes, LaneTimes, MethodTimes};
use super::super::profile::link_cost;
use super::super::remarks::copies_held_out;
use super::super::{BlockShape, METHODS};
use devices::LaneSection;
use model::Direction;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU64;
use toml_edit::DocumentMut;

/// A row of `FILE.copies.csv`, as far as it is needed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct CopyRow {
    direction: String,
    method: String,
    /// None of a memcpy beneath the device.
    blocks: Option<u32>,
    nanos: u64,
}

/// A direction fitted again to its copies, and what is to be said of those that were held out. `before` is what its calibration made of it.
///
/// # Errors
/// If a method was not timed.
pub(super) fn lane(
    rows: &[CopyRow],
    direction: Direction,
    before: &LaneSection,
    shape: BlockShape,
) -> Result<(LaneFit, Option<String>), String> {
    let name = direction.to_string().to_lowercase();
    let mut methods = Vec::with_capacity(METHODS.len());
    for method in METHODS {
        let method = format!("{method:?}").to_lowercase();
        let own = rows
            .iter()
            .filter(|row| row.direction == name && row.method == method);
        let sizes = own.filter_map(|row| Some((row.blocks?, row.nanos)));
        let times = MethodTimes::of(sizes);
        methods.push(times.map_err(|_| format!("{direction}: no copy by {method} is there"))?);
    }
    let nanos = |bytes_per_s: NonZeroU64| shape.bytes as f64 * 1e9 / bytes_per_s.get() as f64;
    let alone_ns = nanos(before.bytes_per_s);
    let share = |ppm: u32| f64::from(ppm) / 1e6;
    let times = LaneTimes {
        methods: methods.try_into().map_err(|_| "a method is missing")?,
        beside: BesideTimes {
            alone_ns,
            other_ns: nanos(before.bytes_per_s_shared),
            decode_ns: alone_ns * (1.0 + share(before.beside_steps_ppm)),
            decode_slowdown: share(before.slowdown_ppm),
            ..BesideTimes::default()
        },
    };
    let fit = lane_fit::fit(&times, shape);
    let errors = lane_fit::errors(&times.methods, &fit, shape);
    Ok((
        fit,
        errors.map(|errors| copies_held_out(direction, &errors)),
    ))
}

/// The profile's text with other costs of copies. `None` if it has no table of them.
pub(super) fn with_lanes(text: &str, fits: &[LaneFit; 2]) -> Option<String> {
    let mut costs = "[link]\n".to_owned();
    link_cost(fits, &mut costs);
    let costs: DocumentMut = costs.parse().ok()?;
    let mut profile: DocumentMut = text.parse().ok()?;
    let link = profile.get_mut("link")?.as_table_mut()?;
    for (key, cost) in costs.get("link")?.as_table()? {
        let Some(lane) = cost.as_table() else {
            *link.get_mut(key)? = cost.clone();
            continue;
        };
        // Key by key, so that the table keeps its place.
        let own = link.get_mut(key)?.as_table_mut()?;
        for (key, cost) in lane {
            *own.get_mut(key)? = cost.clone();
        }
    }
    Some(profile.to_string())
}

/// The profile's text with the link of another one, which names its source. `None` if either has none.
pub(super) fn with_link(text: &str, other: &str) -> Option<String> {
    let mut profile: DocumentMut = text.parse().ok()?;
    let other: DocumentMut = other.parse().ok()?;
    *profile.get_mut("link")? = other.get("link")?.clone();
    Some(profile.to_string())
}
