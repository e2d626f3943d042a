//! `chat-server store`: what operators do with the store, on the command line.

use std::{
    io::{BufReader, BufWriter, ErrorKind, Write as _, stdin, stdout},
    time::{Duration, UNIX_EPOCH},
};

use anyhow::bail;

use crate::{
    cli::StoreAction,
    config::Config,
    store::tools::{self, Imported, Info, ToolError},
};

/// Does it. What it finds goes to standard output.
///
/// # Errors
/// It cannot be done, or a check found damage.
pub(crate) fn run(config: &Config, action: StoreAction) -> anyhow::Result<()> {
    let data_dir = &config.data_dir;
    let mut output = BufWriter::new(stdout().lock());
    match action {
        StoreAction::Info => output.write_all(describe(&tools::info(data_dir)?).as_bytes())?,
        StoreAction::Check => {
            let faults = tools::check(data_dir)?;
            for fault in &faults {
                writeln!(output, "{fault}")?;
            }
            output.flush()?;
            if !faults.is_empty() {
                bail!("the store is damaged; see docs/store.md, \"When it breaks\"");
            }
            writeln!(output, "no damage found")?;
        }
        StoreAction::Export => match tools::export(data_dir, &mut output) {
            Ok(count) => tracing::info!(messages = count, "exported"),
            // A reader that went away wanted no more of it.
            Err(ToolError::Io(error)) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) => return Err(error.into()),
        },
        StoreAction::Import => {
            let Imported { added, known } = tools::import(data_dir, &mut BufReader::new(stdin().lock()))?;
            writeln!(output, "{added} messages imported, {known} were there already")?;
        }
    }
    output.flush()?;
    Ok(())
}

fn describe(info: &Info) -> String {
    let Info { schema, rooms, messages, receipts, times, file_bytes, free_bytes, log_bytes } = info;
    let time =
        |millis: i64| humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(millis.cast_unsigned()));
    let [first, last] = match times {
        Some(times) => times.map(|millis| time(millis).to_string()),
        None => ["none", "none"].map(ToOwned::to_owned),
    };
    format!(
        "schema          {schema}\nrooms           {rooms}\nmessages        {messages}\nfirst message   {first}\nlast message    {last}\n\
         clientIds       {receipts}\nfile            {file_bytes} bytes, {free_bytes} of them free\nlog             {log_bytes} bytes\n"
    )
}
