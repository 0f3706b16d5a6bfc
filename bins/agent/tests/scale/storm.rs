//! What happens to processes and lines while builds are driven.

use crate::{
    dice::Dice,
    line::Line,
    process::{LEASE, Process},
};
use rustix::process::Signal;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

/// How often it is looked what is due.
const TICK: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    KillAgent,
    PauseAgent,
    KillServer,
    PauseServer,
    CutLine,
}

/// Dealt in a new order again and again.
const DECK: [Fault; 9] = [
    Fault::KillAgent,
    Fault::KillAgent,
    Fault::KillAgent,
    Fault::PauseAgent,
    Fault::PauseAgent,
    Fault::KillServer,
    Fault::PauseServer,
    Fault::CutLine,
    Fault::CutLine,
];

/// Something that a fault befell and that is to come back.
#[derive(Debug)]
struct Away {
    fault: Fault,
    which: usize,
    until: Instant,
}

/// Processes, lines, and the faults they have.
#[derive(Debug)]
pub(crate) struct Storm {
    pub(crate) servers: Vec<Process>,
    pub(crate) agents: Vec<Process>,
    lines: Vec<Line>,
    dice: Dice,
    deck: Vec<Fault>,
    away: Vec<Away>,
    pub(crate) tally: BTreeMap<Fault, u32>,
}

impl Storm {
    pub(crate) fn new(
        seed: u64,
        servers: Vec<Process>,
        agents: Vec<Process>,
        lines: Vec<Line>,
    ) -> Self {
        let (dice, tally) = (Dice::new(seed), BTreeMap::new());
        Self { servers, agents, lines, dice, deck: Vec::new(), away: Vec::new(), tally }
    }

    /// The kinds of faults that can happen here.
    pub(crate) fn kinds(&self) -> Vec<Fault> {
        let mut kinds = DECK.to_vec();
        kinds.dedup();
        kinds.retain(|k| *k != Fault::CutLine || !self.lines.is_empty());
        kinds
    }

    /// Rages until it is told to stop; then everything is there again.
    pub(crate) fn rage(mut self, stop: &AtomicBool) -> Self {
        let mut next = Instant::now() + Duration::from_millis(500);
        while !stop.load(Ordering::Relaxed) {
            self.mend(Instant::now());
            self.all_live();
            if Instant::now() >= next {
                self.strike();
                next = Instant::now() + Duration::from_millis(self.dice.between(50, 500));
            }
            sleep(TICK);
        }
        while let Some(until) = self.away.iter().map(|a| a.until).max() {
            self.mend(until);
        }
        self
    }

    /// Nothing here ends by itself, whatever happens around it.
    pub(crate) fn all_live(&mut self) {
        for process in self.servers.iter_mut().chain(&mut self.agents) {
            if let Some(status) = process.ended() {
                panic!("{} ended by itself: {status}", process.name);
            }
        }
    }

    fn deal(&mut self) -> Fault {
        if self.deck.is_empty() {
            self.deck = DECK.to_vec();
            self.deck.retain(|f| *f != Fault::CutLine || !self.lines.is_empty());
            self.dice.shuffle(&mut self.deck);
        }
        self.deck.pop().unwrap()
    }

    /// Whether something is away that a fault of this kind would befall.
    fn is_away(&self, fault: Fault, which: usize) -> bool {
        let kind = |f| match f {
            Fault::KillAgent | Fault::PauseAgent => 0,
            Fault::KillServer | Fault::PauseServer => 1,
            Fault::CutLine => 2,
        };
        self.away.iter().any(|a| kind(a.fault) == kind(fault) && a.which == which)
    }

    /// One fault.
    fn strike(&mut self) {
        let fault = self.deal();
        let many = match fault {
            Fault::KillAgent | Fault::PauseAgent => self.agents.len(),
            Fault::KillServer | Fault::PauseServer => self.servers.len(),
            Fault::CutLine => self.lines.len(),
        };
        let which = self.dice.below(many as u64) as usize;
        if self.is_away(fault, which) {
            return;
        }
        let lease = LEASE.as_millis() as u64;
        // Where there are few servers, each is missed the more.
        let spare = 700 * self.servers.len() as u64;
        // Some come back at once, some when their leases have lapsed.
        let long = self.dice.one_in(3);
        let millis = match fault {
            Fault::KillAgent if long => self.dice.between(lease, 2 * lease),
            Fault::PauseAgent if long => self.dice.between(lease, 2 * lease),
            Fault::KillAgent | Fault::PauseAgent => self.dice.between(20, 1_000),
            Fault::KillServer | Fault::PauseServer => self.dice.between(20, spare),
            Fault::CutLine if long => self.dice.between(100, 2_000),
            Fault::CutLine => 0,
        };
        match fault {
            Fault::KillAgent => self.agents[which].kill(),
            Fault::KillServer => self.servers[which].kill(),
            Fault::PauseAgent => self.agents[which].signal(Signal::STOP),
            Fault::PauseServer => self.servers[which].signal(Signal::STOP),
            Fault::CutLine => self.lines[which].cut(millis == 0),
        }
        *self.tally.entry(fault).or_default() += 1;
        let until = Instant::now() + Duration::from_millis(millis);
        self.away.push(Away { fault, which, until });
    }

    /// Brings back what is due.
    fn mend(&mut self, now: Instant) {
        let (due, away) = self.away.drain(..).partition(|a| a.until <= now);
        self.away = away;
        let due: Vec<Away> = due;
        for Away { fault, which, .. } in due {
            match fault {
                Fault::KillAgent => self.agents[which].start(),
                Fault::KillServer => self.servers[which].start(),
                Fault::PauseAgent => self.agents[which].signal(Signal::CONT),
                Fault::PauseServer => self.servers[which].signal(Signal::CONT),
                Fault::CutLine => self.lines[which].mend(),
            }
        }
    }
}
