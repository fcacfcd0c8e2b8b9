//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use outlierd::cmd;
use tracing_subscriber::EnvFilter;

/// Streaming anomaly detection for Prometheus remote write.
#[derive(Debug, Parser)]
#[command(name = "outlierd", version)]
struct Flags {
    /// Least severe messages to log: error, warn, info, debug or trace.
    #[arg(long = "log.level", global = true, default_value = "info", value_name = "LEVEL")]
    log_level: String,
    /// How messages are written.
    #[arg(long = "log.format", global = true, default_value = "text", value_enum)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
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
    /// Check a configuration file, its expressions and its bundle.
    CheckConfig(cmd::check_config::Flags),
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    start_log(&flags.log_level, flags.log_format);
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

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(flags) => runtime()?.block_on(cmd::serve::run(flags)),
        Command::Demo(args) => runtime()?.block_on(cmd::demo::run(&args)),
        Command::CheckConfig(flags) => cmd::check_config::run(&flags),
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn start_log(level: &str, format: LogFormat) {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => log.json().init(),
    }
}
