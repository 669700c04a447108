//! A data block: decided before it is accepted, then stored.
//!
//! Invariants:
//! - What was refused is swallowed unbuffered.
//! - A block that is whole in the read buffer is stored by one copy; one that arrives in pieces fills
//!   memory that was reserved for it, and is decided again when it has ended.
//! - A block with a wrong end counts as a store, since memory was taken for it.

use kannuki_guard::{Access, Permit, action};
use kannuki_protocol::{
    Command, Decoder, Dialect, Event, binary::MAGIC_REQUEST, limits::KEY_BYTES_MAX,
    violation::Fault,
};

use super::{Next, Session, Stage};
use crate::{
    dispatch::{Payload, Turn, binary, classic, meta},
    memory::Reservation,
    output::Output,
    prefixes::Tally,
    refusals,
};

/// A permitted command whose value is still arriving. The command line is kept as it came and
/// decoded again when the value is whole.
#[derive(Debug)]
pub(super) struct Block {
    head: Box<[u8]>,
    reservation: Reservation,
}

impl Session {
    /// A command with a data block: decides, then takes the block at once if it is all there.
    /// Returns how many bytes of `after` it used.
    pub(super) fn begin_block(
        &mut self,
        turn: &Turn<'_>,
        command: &Command<'_>,
        head: &[u8],
        after: &[u8],
        out: &mut Output,
    ) -> usize {
        let mut room = [0; KEY_BYTES_MAX];
        let Some(permit) = allowed(turn, &self.access, command, &mut room, out.bytes()) else {
            self.decoder.discard_data();
            return 0;
        };
        if let Some(key) = permit.key().filter(|_| !matches!(command, Command::Meta(_))) {
            turn.instance.prefixes.count(key, Tally::Set);
        }
        let length = command.data_len().unwrap_or(0) as usize;
        let terminator = if matches!(command, Command::Binary(_)) { 0 } else { 2 };
        if after.len() < length + terminator {
            match reserve(turn, permit, command, out.bytes()) {
                Some(reservation) => {
                    self.stage = Stage::Block(Box::new(Block { head: head.into(), reservation }));
                }
                None => self.decoder.discard_data(),
            }
            return 0;
        }
        if let Some((value, used)) = self.decoder.whole_block(after) {
            store(turn, permit, command, Payload::Whole(value), out);
            return used;
        }
        let decoded = self.decoder.decode(after);
        // The block is whole, so its end is wrong.
        if let Event::Violation(violation) = decoded.event {
            refusals::count_fault(turn.counters, violation.fault);
            count_bad_block(turn, command);
            violation.encode(out.bytes());
        }
        decoded.used
    }

    /// A piece of a block that is gathered or swallowed; the last one ends it.
    pub(super) fn data(
        &mut self,
        turn: &Turn<'_>,
        piece: &[u8],
        last: bool,
        out: &mut Output,
    ) -> Option<Next> {
        match &mut self.stage {
            Stage::Block(block) => block.reservation.fill(piece),
            Stage::Login(gathering) => {
                gathering.fill(piece);
                self.secret = true;
            }
            _ => return None,
        }
        if !last {
            return None;
        }
        let block = match std::mem::replace(&mut self.stage, Stage::Commands) {
            Stage::Login(gathered) => return self.login_gathered(turn, *gathered, out.bytes()),
            Stage::Block(block) => block,
            _ => return None,
        };
        let Block { head, reservation } = *block;
        let Event::Command(command) = decoder_of(&head).decode(&head).event else { return None };
        // The block took its time, and the first permit went into the reservation: under rules that
        // changed meanwhile this may be another answer.
        let mut room = [0; KEY_BYTES_MAX];
        if let Some(permit) = allowed(turn, &self.access, &command, &mut room, out.bytes()) {
            store(turn, permit, &command, Payload::Gathered(reservation), out);
        }
        None
    }

    /// Counts a violation by its name; one that ends a data block ends its command too.
    pub(super) fn violated(&mut self, turn: &Turn<'_>, fault: Fault) {
        refusals::count_fault(turn.counters, fault);
        if let Stage::Block(block) = std::mem::replace(&mut self.stage, Stage::Commands)
            && let Event::Command(command) = decoder_of(&block.head).decode(&block.head).event
        {
            count_bad_block(turn, &command);
        }
    }
}

fn decoder_of(head: &[u8]) -> Decoder {
    let binary = head.first() == Some(&MAGIC_REQUEST);
    Decoder::new(if binary { Dialect::Binary } else { Dialect::Text })
}

/// Asks the guard whether a value may come; `None`: refused and answered.
fn allowed<'r>(
    turn: &Turn<'_>,
    access: &Access,
    command: &Command<'r>,
    room: &'r mut [u8; KEY_BYTES_MAX],
    out: &mut Vec<u8>,
) -> Option<Permit<'r, action::Write>> {
    match command {
        Command::Set(set) => classic::set_allowed(turn, access, set, out),
        Command::Meta(asked) => meta::set_allowed(turn, access, asked, room, out),
        Command::Binary(asked) => binary::set_allowed(turn, access, asked, out),
        _ => None,
    }
}

fn reserve(
    turn: &Turn<'_>,
    permit: Permit<'_, action::Write>,
    command: &Command<'_>,
    out: &mut Vec<u8>,
) -> Option<Reservation> {
    match command {
        Command::Set(set) => classic::set_reserve(turn, permit, set, out),
        Command::Meta(asked) => meta::set_reserve(turn, permit, asked, out),
        Command::Binary(asked) => binary::set_reserve(turn, permit, asked, out),
        _ => None,
    }
}

fn store(
    turn: &Turn<'_>,
    permit: Permit<'_, action::Write>,
    command: &Command<'_>,
    payload: Payload<'_>,
    out: &mut Output,
) {
    match command {
        Command::Set(set) => classic::set(turn, permit, set, payload, out.bytes()),
        Command::Meta(asked) => meta::set(turn, permit, asked, payload, out.bytes()),
        Command::Binary(asked) => binary::set(turn, permit, asked, payload, out.bytes()),
        _ => {}
    }
}

/// A block with a wrong terminator still counts as a store: it had memory.
fn count_bad_block(turn: &Turn<'_>, command: &Command<'_>) {
    match command {
        Command::Set(set) => turn.count_store(set.key.as_bytes(), set.data_len, set.flags),
        Command::Meta(asked) => meta::count_bad_block(turn, asked),
        _ => {}
    }
}
