//! The command line.

use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::process::{self, ExitCode};

use clap::{Parser, Subcommand, ValueEnum};
use outlierd::cmd;
use tracing_subscriber::filter::LevelFilter;

/// Streaming anomaly detection for Prometheus remote write.
#[derive(Debug, Parser)]
#[command(name = "outlierd", version)]
struct Flags {
    /// Least severe messages to log.
    #[arg(long = "log.level", global = true, default_value = "info", value_enum)]
    log_level: LogLevel,
    /// How messages are written.
    #[arg(long = "log.format", global = true, default_value = "text", value_enum)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service.
    Serve(cmd::serve::Flags),
    /// Show it at work: start the service, send it a simulated fleet with faults, report what it found.
    Demo(cmd::demo::Args),
    /// Check a configuration file, its expressions and its bundle; list the features.
    CheckConfig(cmd::check_config::Flags),
    /// Print the rows of features that a recording or a database gives, as CSV: what the model would see.
    Features(cmd::features::Flags),
    /// Take remote write and write the bodies to a folder, as received.
    Record(cmd::record::Flags),
    /// Measure how well a bundle finds the incidents of labelled data.
    Evaluate(cmd::evaluate::Flags),
    /// Show a bundle, or make one of a model trained elsewhere.
    #[command(subcommand)]
    Model(cmd::model::Action),
    /// Train a model of one's own hosts: history in, bundle out.
    Train(cmd::train::Flags),
}

/// Microsoft's builds of ONNX Runtime write a device id and a database of telemetry events to the home folder as soon as they are
/// loaded. Nothing but this variable, set when the process starts, prevents it.
const DISABLE_TELEMETRY: &str = "ORT_DISABLE_TELEMETRY";

fn main() -> ExitCode {
    let flags = Flags::parse();
    restart_without_telemetry();
    start_log(flags.log_level, flags.log_format);
    match run(flags.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // As it stands, since it may be a list with positions: a log line would run it together.
            let text = format!("outlierd: {error:#}\n");
            drop(std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()));
            ExitCode::FAILURE
        }
    }
}

/// Starts this process over with [`DISABLE_TELEMETRY`], unless it has the variable already. Where that fails it goes on: nothing
/// is sent in any case, see `model::session`.
fn restart_without_telemetry() {
    let Ok(binary) = std::env::current_exe() else { return };
    // The loader's name, for example, where the binary was started through it.
    let is_outlierd = binary.file_name().is_some_and(|name| name.to_string_lossy().starts_with(env!("CARGO_BIN_NAME")));
    if !is_outlierd || std::env::var_os(DISABLE_TELEMETRY).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    let mut command = process::Command::new(binary);
    command.arg0(arguments.next().unwrap_or_default()).args(arguments).env(DISABLE_TELEMETRY, "1");
    drop(command.exec());
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(flags) => block_on(cmd::serve::run(flags)),
        Command::Demo(args) => block_on(cmd::demo::run(&args)),
        Command::CheckConfig(flags) => until_unread(cmd::check_config::run(&flags)),
        Command::Record(flags) => block_on(cmd::record::run(flags)),
        Command::Features(flags) => until_unread(cmd::features::run(&flags)),
        Command::Evaluate(flags) => until_unread(cmd::evaluate::run(&flags)),
        Command::Model(action) => until_unread(cmd::model::run(&action)),
        Command::Train(flags) => cmd::train::run(&flags),
    }
}

/// The result of a command that prints: a reader that has enough, such as `head`, is no failure.
fn until_unread(result: anyhow::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) => {
            Ok(())
        }
        result => result,
    }
}

fn block_on(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(command);
    // Not waiting for what the command gave up on.
    runtime.shutdown_background();
    done
}

fn start_log(level: LogLevel, format: LogFormat) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false);
    match format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => log.json().init(),
    }
}
