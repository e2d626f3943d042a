//! [`Disk`]: files as they may be after a loss of power, made of what `power_loss.c` recorded.

use std::{collections::BTreeMap, fs, path::Path};

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// Random numbers that one seed decides (SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// Less than `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }
}

/// What survives of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Survival {
    Nothing,
    /// The first changes of each file. Of the next write, some sectors.
    Prefix,
    /// Any changes of each file, and any sectors of them.
    Some,
    /// Everything, as when only the process is killed.
    Everything,
}

impl Survival {
    pub(crate) const ALL: [Self; 4] = [Self::Nothing, Self::Prefix, Self::Some, Self::Everything];
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
}

/// A file: what is on the disk for sure, and what was changed since.
#[derive(Debug, Clone, Default)]
struct File {
    synced: Vec<u8>,
    unsynced: Vec<Change>,
    /// Whether its name is on the disk for sure.
    has_entry: bool,
    /// It was removed; its name may be on the disk until the directory is synced.
    is_removed: bool,
}

/// The files of a store. See the module.
#[derive(Debug, Default)]
pub(crate) struct Disk(BTreeMap<String, File>);

impl Disk {
    /// The files of this directory as they are, all synced.
    pub(crate) fn of(directory: &Path) -> Self {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let (name, path) = entry.map(|entry| (entry.file_name(), entry.path())).unwrap();
            let name = name.into_string().unwrap();
            if name.starts_with("chat.db") && !name.ends_with("-shm") {
                files.insert(name, File { synced: fs::read(path).unwrap(), has_entry: true, ..File::default() });
            }
        }
        Self(files)
    }

    /// Does what was recorded. The last record may be there in part.
    pub(crate) fn replay(mut self, log: &Path) -> Self {
        let log = fs::read(log).unwrap();
        let mut rest = log.as_slice();
        while let Some(record) = Record::parse(&mut rest) {
            self.apply(record);
        }
        self
    }

    fn apply(&mut self, Record { what, name, offset, bytes }: Record<'_>) {
        if what == b'd' {
            self.0.retain(|_, file| !file.is_removed);
            self.0.values_mut().for_each(|file| file.has_entry = true);
            return;
        }
        let file = self.0.entry(name.to_owned()).or_default();
        if file.is_removed {
            // Another one of that name.
            *file = File::default();
        }
        match what {
            b'w' => file.unsynced.push(Change::Write { offset, bytes: bytes.to_vec() }),
            b'u' => file.is_removed = true,
            b't' => file.unsynced.push(Change::Truncate(offset)),
            b's' => {
                for change in std::mem::take(&mut file.unsynced) {
                    change.apply(&mut file.synced);
                }
            }
            other => panic!("a record of kind {other}"),
        }
    }

    /// Writes the files that are left after a loss of power.
    pub(crate) fn write(self, directory: &Path, survival: Survival, dice: &mut Dice) {
        fs::create_dir(directory).unwrap();
        for (name, file) in self.0 {
            if file.survives(survival, dice) {
                fs::write(directory.join(name), file.after_loss(survival, dice)).unwrap();
            }
        }
    }
}

impl File {
    /// Whether its name does.
    fn survives(&self, survival: Survival, dice: &mut Dice) -> bool {
        // Its name came or went, and the directory was not synced since.
        let is_open = self.has_entry == self.is_removed;
        match survival {
            Survival::Everything => !self.is_removed,
            Survival::Nothing => self.has_entry,
            Survival::Prefix | Survival::Some if is_open => dice.below(2) == 0,
            Survival::Prefix | Survival::Some => self.has_entry,
        }
    }

    fn after_loss(self, survival: Survival, dice: &mut Dice) -> Vec<u8> {
        let Self { synced: mut left, unsynced, .. } = self;
        let whole = match survival {
            Survival::Nothing => 0,
            Survival::Prefix => dice.below(unsynced.len() + 1),
            Survival::Some | Survival::Everything => unsynced.len(),
        };
        for (number, change) in unsynced.into_iter().enumerate() {
            match survival {
                Survival::Prefix if number == whole => change.torn(dice, &mut left),
                _ if number >= whole => break,
                Survival::Some => match dice.below(3) {
                    0 => {}
                    1 => change.torn(dice, &mut left),
                    _ => change.apply(&mut left),
                },
                _ => change.apply(&mut left),
            }
        }
        left
    }
}

impl Change {
    fn apply(self, file: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[offset..end].copy_from_slice(&bytes);
            }
            Self::Truncate(length) => file.resize(length, 0),
        }
    }

    /// Some sectors of a write. A truncation happens or not.
    fn torn(self, dice: &mut Dice, file: &mut Vec<u8>) {
        let Self::Write { offset, bytes } = self else {
            if dice.below(2) == 0 {
                self.apply(file);
            }
            return;
        };
        let mut begun = 0;
        while begun < bytes.len() {
            // Sectors are those of the file, not of the write.
            let end = bytes.len().min((offset + begun) / SECTOR * SECTOR + SECTOR - offset);
            if dice.below(2) == 0 {
                Self::Write { offset: offset + begun, bytes: bytes[begun..end].to_vec() }.apply(file);
            }
            begun = end;
        }
    }
}

/// One record; see `power_loss.c`.
struct Record<'a> {
    what: u8,
    name: &'a str,
    offset: usize,
    bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// Takes the first record; `None` when it is not there, or not whole.
    fn parse(log: &mut &'a [u8]) -> Option<Self> {
        let (header, rest) = log.split_first_chunk::<16>()?;
        let [what, name_length, _, _, length @ .., _, _, _, _, _, _, _, _] = *header;
        let offset = header.last_chunk::<8>().map(|bytes| u64::from_ne_bytes(*bytes))?;
        let (name, rest) = rest.split_at_checked(usize::from(name_length))?;
        let (bytes, rest) = rest.split_at_checked(u32::from_ne_bytes(length) as usize)?;
        *log = rest;
        let name = std::str::from_utf8(name).unwrap();
        Some(Self { what, name, offset: usize::try_from(offset).unwrap(), bytes })
    }
}
