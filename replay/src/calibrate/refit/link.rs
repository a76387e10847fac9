//! The link of a profile fitted again, to the copies that its calibration timed.
//!
//! Copies alone are in `FILE.copies.csv`. What they took beside others is not, but the profile says what that was more: it stays.

use super::super::fit::{Line, Point, line};
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
    bytes: u64,
    /// None of a memcpy beneath the device.
    blocks: Option<u32>,
    nanos: u64,
}

/// Both directions fitted again to their copies, D2H and H2D, and what is to be said of those that were held out. `before` is what the calibration
/// made of them.
///
/// # Errors
/// If a method was not timed, or copies have blocks of another size than `shape`.
pub(super) fn lanes(
    rows: &[CopyRow],
    before: [&LaneSection; 2],
    shape: BlockShape,
) -> Result<([LaneFit; 2], Vec<String>), String> {
    let is_other = |row: &&CopyRow| {
        let blocks = row.blocks.map(u64::from);
        blocks.is_some_and(|blocks| blocks * shape.bytes != row.bytes)
    };
    if let Some(CopyRow { bytes, blocks, .. }) = rows.iter().find(is_other) {
        let blocks = blocks.unwrap_or(0);
        return Err(format!(
            "{bytes} bytes were copied as {blocks} blocks, and a block of the model has {} today",
            shape.bytes
        ));
    }
    let [d2h, h2d] = Direction::LINK;
    let times = [
        times(rows, d2h, before[0], shape)?,
        times(rows, h2d, before[1], shape)?,
    ];
    let fits = lane_fit::fit(&times, [beneath(rows, d2h)?, beneath(rows, h2d)?], shape);
    let errors = Direction::LINK.into_iter().filter_map(|direction| {
        let side = direction.index();
        let errors = lane_fit::errors(&times[side].methods, &fits[side], shape)?;
        Some(copies_held_out(direction, &errors))
    });
    Ok((fits, errors.collect()))
}

/// The copies of a direction by a method, as files name them.
fn copies<'a>(
    rows: &'a [CopyRow],
    direction: Direction,
    method: &'a str,
) -> impl Iterator<Item = &'a CopyRow> {
    let name = direction.to_string().to_lowercase();
    rows.iter()
        .filter(move |row| row.direction == name && row.method == method)
}

/// The line through the memcpys beneath the device.
fn beneath(rows: &[CopyRow], direction: Direction) -> Result<Line, String> {
    let points = copies(rows, direction, "memcpy-beneath").map(|row| Point {
        bytes: row.bytes,
        nanos: row.nanos,
    });
    line(&points.collect::<Vec<_>>())
        .ok_or_else(|| format!("{direction}: no memcpys beneath the device are there"))
}

fn times(
    rows: &[CopyRow],
    direction: Direction,
    before: &LaneSection,
    shape: BlockShape,
) -> Result<LaneTimes, String> {
    let mut methods = Vec::with_capacity(METHODS.len());
    for method in METHODS {
        let method = format!("{method:?}").to_lowercase();
        let own = copies(rows, direction, &method);
        let times = MethodTimes::of(own.filter_map(|row| Some((row.blocks?, row.nanos))));
        methods.push(times.map_err(|_| format!("{direction}: no copy by {method} is there"))?);
    }
    let nanos = |bytes_per_s: NonZeroU64| shape.bytes as f64 * 1e9 / bytes_per_s.get() as f64;
    let alone_ns = nanos(before.bytes_per_s);
    let share = |ppm: u32| f64::from(ppm) / 1e6;
    Ok(LaneTimes {
        methods: methods.try_into().map_err(|_| "a method is missing")?,
        beside: BesideTimes {
            alone_ns,
            other_ns: nanos(before.bytes_per_s_shared),
            decode_ns: alone_ns * (1.0 + share(before.beside_steps_ppm)),
            decode_slowdown: share(before.slowdown_ppm),
            ..BesideTimes::default()
        },
    })
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
