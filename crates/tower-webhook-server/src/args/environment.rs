//! Every option can be given in the environment as well.

use clap::{Arg, ArgAction, Command, builder::BoolishValueParser};

const PREFIX: &str = "TOWER_WEBHOOK_";

/// The command, whose options are looked for in the environment where the command line lacks them:
/// `--max-run` in `TOWER_WEBHOOK_MAX_RUN`.
pub(crate) fn with_environment(command: Command) -> Command {
    let names: Vec<_> = command
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |command| {
            with_environment(command).mut_args(from_environment)
        })
    })
}

fn from_environment(arg: Arg) -> Arg {
    let Some(long) = arg.get_long() else {
        return arg;
    };
    let name = PREFIX.to_owned() + &long.to_uppercase().replace('-', "_");
    // clap keeps names for as long as the program runs.
    let name: &'static str = name.leak();
    let is_flag = matches!(arg.get_action(), ArgAction::SetTrue);
    // The help says the rule once. What is in a variable may be a secret.
    let arg = arg.env(name).hide_env(true);
    match is_flag {
        true => arg.value_parser(BoolishValueParser::new()),
        false => arg,
    }
}
