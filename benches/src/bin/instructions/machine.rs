//! What a count depends on besides the code, and the part of it that can be pinned.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

/// Restricts glibc to routines that every processor of this architecture can run. Otherwise it chooses `memcpy` and
/// others by the processor, and copies with one `rep movsb` where that is fast; valgrind counts such a copy byte by
/// byte. glibc ignores names that it does not know, so the list may contain names of several versions.
#[cfg(target_arch = "x86_64")]
const TUNABLES: &str = "glibc.cpu.hwcaps=-ERMS,-FSRM,-RTM,-SSSE3,-SSE4_1,-SSE4_2,-AVX,-AVX2,-AVX_Usable,-AVX2_Usable,\
    -AVX_Fast_Unaligned_Load,-AVX512F,-AVX512BW,-AVX512VL,-BMI1,-BMI2,-LZCNT,-MOVBE,-POPCNT\
    :glibc.cpu.x86_rep_movsb_threshold=0x40000000\
    :glibc.cpu.x86_rep_stosb_threshold=0x40000000\
    :glibc.cpu.x86_non_temporal_threshold=0x40000000";
#[cfg(target_arch = "aarch64")]
const TUNABLES: &str = "glibc.cpu.name=generic";
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const TUNABLES: &str = "";

/// Valgrind's command for `binary`. The environment and the arguments are on the stack, and the arguments also on the
/// heap. They must be the same in every folder, so the program is called by its bare name.
pub(crate) fn valgrind(flags: &[&str], binary: &Path) -> anyhow::Result<Command> {
    let folder = binary.parent().context("the program has no folder")?;
    let name = binary.file_name().context("the program has no name")?;
    let mut command = Command::new("valgrind");
    command.args(flags).arg(Path::new(".").join(name)).current_dir(folder).env_clear();
    command.env("PATH", env::var_os("PATH").unwrap_or_default()).env("GLIBC_TUNABLES", TUNABLES);
    Ok(command)
}

/// What a count still depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// `rustc -V`.
    pub(crate) rustc: String,
    /// The architecture, and the processor features that the counted code sees: crates choose code by them at run time.
    /// Valgrind presents a processor of its own, so vendor and model of the real one do not matter.
    pub(crate) processor: String,
    /// The C library, whose `malloc` and `memcpy` are counted too.
    pub(crate) libc: String,
    /// Valgrind's version: it decides which processor is presented and how instructions are counted.
    pub(crate) valgrind: String,
}

impl Machine {
    /// The machine that this runs on.
    pub(crate) fn here() -> anyhow::Result<Self> {
        let binary = env::current_exe()?;
        Ok(Self {
            rustc: output(Command::new("rustc").arg("-V"))?,
            processor: output(valgrind(&["--tool=none", "--quiet"], &binary)?.arg("processor"))?,
            libc: output(Command::new("getconf").arg("GNU_LIBC_VERSION")).unwrap_or_else(|_| "unknown".to_owned()),
            valgrind: output(Command::new("valgrind").arg("--version"))?,
        })
    }
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("run {:?}", command.get_program()))?;
    ensure!(output.status.success(), "{:?}: {}", command.get_program(), output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The processor that this process sees. Under valgrind it is the one that valgrind presents.
pub(crate) fn processor() -> String {
    let features = features().into_iter().filter_map(|(name, present)| present.then_some(name));
    [env::consts::ARCH].into_iter().chain(features).collect::<Vec<_>>().join(" ")
}

/// The features that our dependencies check for.
#[cfg(target_arch = "x86_64")]
fn features() -> Vec<(&'static str, bool)> {
    vec![
        ("ssse3", is_x86_feature_detected!("ssse3")),
        ("sse4.1", is_x86_feature_detected!("sse4.1")),
        ("sse4.2", is_x86_feature_detected!("sse4.2")),
        ("popcnt", is_x86_feature_detected!("popcnt")),
        ("pclmulqdq", is_x86_feature_detected!("pclmulqdq")),
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("bmi1", is_x86_feature_detected!("bmi1")),
        ("bmi2", is_x86_feature_detected!("bmi2")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("sha", is_x86_feature_detected!("sha")),
    ]
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<(&'static str, bool)> {
    use std::arch::is_aarch64_feature_detected;
    vec![
        ("lse", is_aarch64_feature_detected!("lse")),
        ("crc", is_aarch64_feature_detected!("crc")),
        ("pmull", is_aarch64_feature_detected!("pmull")),
        ("sha2", is_aarch64_feature_detected!("sha2")),
        ("sve", is_aarch64_feature_detected!("sve")),
    ]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<(&'static str, bool)> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_named_by_its_architecture_and_features() {
        let processor = processor();
        let words: Vec<&str> = processor.split(' ').collect();
        assert_eq!(words[0], env::consts::ARCH);
        let present = features().iter().filter(|(_, present)| *present).count();
        assert_eq!(words.len(), 1 + present, "{processor}");
    }

    /// A line break in the source must not leave a space: glibc would ignore the whole text.
    #[test]
    fn tunables_are_names_and_values() {
        for tunable in TUNABLES.split(':').filter(|tunable| !tunable.is_empty()) {
            let (name, value) = tunable.split_once('=').unwrap();
            assert!(name.starts_with("glibc.cpu."), "{name}");
            assert!(!value.is_empty() && !value.contains([' ', '\n']), "{value}");
        }
    }
}
