"""`pvboot completion`: scripts that teach a shell the verbs and their options, made from the parsers."""

from __future__ import annotations

import argparse

HELP = "print the completion script of a shell"

EXAMPLES = """\
examples:
  pvboot completion bash > ~/.local/share/bash-completion/completions/pvboot
  pvboot completion zsh > ~/.zfunc/_pvboot
  pvboot completion fish > ~/.config/fish/completions/pvboot.fish
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """SHELL."""
    parser.description = "Print the completion script of a shell."
    parser.epilog = EXAMPLES
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))


def run(args: argparse.Namespace) -> int:
    """Return 0."""
    from pvboot.cli.main import VERBS, verb_parser

    verbs = {verb: verb_parser(verb) for verb in VERBS}
    options = {verb: _options(parser) for verb, (parser, _module) in verbs.items()}
    helps = {verb: module.HELP for verb, (_parser, module) in verbs.items()}
    print({"bash": _bash, "zsh": _zsh, "fish": _fish}[args.shell](options, helps), end="")
    return 0


def _options(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Return option strings and their help; `_actions` is where argparse keeps them, it has no public list."""
    return {
        option: (action.help or "").replace("%%", "%") for action in parser._actions for option in action.option_strings
    }


def _bash(options: dict[str, dict[str, str]], _helps: dict[str, str]) -> str:
    cases = "".join(f'    {verb}) words="{" ".join(known)}" ;;\n' for verb, known in options.items())
    return f"""\
_pvboot() {{
  local words="" current="${{COMP_WORDS[COMP_CWORD]}}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="{" ".join(options)} --help --version"
  elif [[ "$current" == -* ]]; then
    case "${{COMP_WORDS[1]}}" in
{cases}    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _pvboot pvboot
"""


def _zsh(options: dict[str, dict[str, str]], helps: dict[str, str]) -> str:
    verbs = " ".join(_quoted(f"{verb}:{text}") for verb, text in helps.items())
    cases = "".join(
        f"    {verb}) _arguments {' '.join(_quoted(_zsh_option(*item)) for item in known.items())} '*:file:_files' ;;\n"
        for verb, known in options.items()
    )
    return f"""\
#compdef pvboot
_pvboot() {{
  local -a verbs=({verbs})
  if (( CURRENT == 2 )); then
    _describe verb verbs
    return
  fi
  local verb=$words[2]
  shift words
  (( CURRENT-- ))
  case $verb in
{cases}  esac
}}
_pvboot "$@"
"""


def _zsh_option(option: str, text: str) -> str:
    plain = text.replace("[", "(").replace("]", ")").replace(":", ",")
    return f"{option}[{plain}]"


def _fish(options: dict[str, dict[str, str]], helps: dict[str, str]) -> str:
    lines = [
        f"complete -c pvboot -n __fish_use_subcommand -a {verb} -d {_quoted(text)}" for verb, text in helps.items()
    ]
    for verb, known in options.items():
        for option, text in known.items():
            flag = f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
            lines.append(f"complete -c pvboot -n '__fish_seen_subcommand_from {verb}' {flag} -d {_quoted(text)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
