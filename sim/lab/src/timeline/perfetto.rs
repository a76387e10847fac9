//! Perfetto's protobuf, as much of it as a timeline needs, written field by field.
//!
//! The schema is stable, and a generator would be larger than this file. Names are interned: each is written with the first event
//! that has it, which makes the file about a third as large.
//!
//! Source of the field numbers: `protos/perfetto/trace/perfetto_trace.proto` of the Perfetto repository, release v50.

use std::collections::BTreeMap;

/// What happens on a track, with the number of its `TrackEvent.Type`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Begin = 1,
    End = 2,
    Instant = 3,
    Count = 4,
}

impl Kind {
    /// Order at one instant: an end goes first, so that the next slice does not begin inside the last.
    pub(super) fn rank(self) -> u8 {
        match self {
            Self::End => 0,
            Self::Count => 1,
            Self::Begin => 2,
            Self::Instant => 3,
        }
    }
}

/// A track, by its number in the file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Track(pub u64);

/// Something to be read beside an event.
pub(super) enum Note {
    Number(&'static str, u64),
    Text(&'static str, String),
}

/// An event on a track. An end has no name.
pub(super) struct Happening {
    pub at: u64,
    pub track: Track,
    pub kind: Kind,
    pub name: String,
    /// Of a counter.
    pub value: u64,
    pub notes: Vec<Note>,
}

/// A protobuf message in the making.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// A field of wire type 0.
    fn number(&mut self, field: u32, value: u64) -> &mut Self {
        self.varint(u64::from(field) << 3);
        self.varint(value);
        self
    }

    /// A field of wire type 2: a string or a message.
    fn bytes(&mut self, field: u32, value: &[u8]) -> &mut Self {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }
}

/// Everything is one sequence of packets: `Trace { repeated TracePacket packet = 1 }`.
#[derive(Default)]
pub(super) struct File {
    pub bytes: Vec<u8>,
    pub packets: u64,
    events: BTreeMap<String, u64>,
    notes: BTreeMap<&'static str, u64>,
}

/// `TracePacket.sequence_flags`: names begin anew, or are needed.
const NAMES_CLEARED: u64 = 1;
const NAMES_NEEDED: u64 = 2;

impl File {
    fn packet(&mut self, mut packet: Message) {
        let flags = if self.packets == 0 { NAMES_CLEARED } else { 0 };
        packet.number(10, 1).number(13, flags | NAMES_NEEDED);
        let mut framed = Message(std::mem::take(&mut self.bytes));
        framed.bytes(1, &packet.0);
        self.bytes = framed.0;
        self.packets += 1;
    }

    /// `TracePacket.track_descriptor` (60): uuid, name, parent, and a counter's unit (count).
    pub(super) fn track(&mut self, track: Track, parent: Option<Track>, name: &str, counter: bool) {
        let mut descriptor = Message::default();
        descriptor.number(1, track.0).bytes(2, name.as_bytes());
        if let Some(parent) = parent {
            descriptor.number(5, parent.0);
        }
        if counter {
            descriptor.bytes(8, &Message::default().number(3, 2).0);
        }
        let mut packet = Message::default();
        packet.bytes(60, &descriptor.0);
        self.packet(packet);
    }

    /// `TracePacket.track_event` (11) at `timestamp` (8), with the names (12) that are new with it.
    pub(super) fn event(&mut self, happening: &Happening) {
        let (mut event, mut new) = (Message::default(), Message::default());
        event
            .number(9, happening.kind as u64)
            .number(11, happening.track.0);
        if !happening.name.is_empty() {
            let next = self.events.len() as u64 + 1;
            let id = *self
                .events
                .entry(happening.name.clone())
                .or_insert_with(|| {
                    new.bytes(2, &name(next, &happening.name).0);
                    next
                });
            event.number(10, id);
        }
        if happening.kind == Kind::Count {
            event.number(30, happening.value);
        }
        for note in &happening.notes {
            let (Note::Number(key, _) | Note::Text(key, _)) = note;
            let next = self.notes.len() as u64 + 1;
            let id = *self.notes.entry(key).or_insert_with(|| {
                new.bytes(3, &name(next, key).0);
                next
            });
            let mut annotation = Message::default();
            annotation.number(1, id);
            match note {
                Note::Number(_, value) => annotation.number(3, *value),
                Note::Text(_, text) => annotation.bytes(6, text.as_bytes()),
            };
            event.bytes(4, &annotation.0);
        }
        let mut packet = Message::default();
        packet.number(8, happening.at).bytes(11, &event.0);
        if !new.0.is_empty() {
            packet.bytes(12, &new.0);
        }
        self.packet(packet);
    }
}

/// `EventName` or `DebugAnnotationName`: id and text.
fn name(id: u64, text: &str) -> Message {
    let mut message = Message::default();
    message.number(1, id).bytes(2, text.as_bytes());
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_seven_bits_at_a_time_lowest_first() {
        let mut message = Message::default();
        // Field 1, type 0: tag 0x08. 300 = 0b10_0101100: 0x2c | 0x80, then 0x02.
        assert_eq!(message.number(1, 300).0, [0x08, 0xac, 0x02]);
        // Field 60, type 2: tag 60 * 8 + 2 = 482 = 0b11_1100010: 0x62 | 0x80, then 0x03.
        let mut message = Message::default();
        assert_eq!(message.bytes(60, b"ab").0, [0xe2, 0x03, 2, b'a', b'b']);
    }
}
