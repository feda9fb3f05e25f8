"""Made by tools/generate_parsers.py from grammars/grub_cfg.py: `make generate`."""

from __future__ import annotations

from fsdrivers.light import Any
from grammars.source import Fault, Rule, act, compiler, expect

_compiled = compiler(globals())
_match0 = _compiled(r"[\t ]*+(?>(?:#[^\n]*+)?\n)")
_match1 = _compiled(r"[\t ]*+((?>(?=[^ \t\n])))")
_match2 = _compiled(r"[\t ]*+(?>function(?=[;{}|&<> \t\n]))")
_match3 = _compiled(
    r"[\t ]*+((?>(?!(?:case|do|done|elif|else|esac|fi|for|if|in|select|then|until|while|function)(?=[;{}|&<> \t\n]))[A-Za-z_][A-Za-z0-9_]*+(?=[;{}|&<> \t\n])))"
)
_match4 = _compiled(r"(?:[\t ]*+(?>(?:#[^\n]*+)?\n))*+")
_match5 = _compiled(r"[\t ]*+((?>\{))")
_match6 = _compiled(
    r"[\t ]*+(?>(?!(?:case|do|done|elif|else|esac|fi|for|if|in|select|then|until|while|function)(?=[;{}|&<> \t\n])))"
)
_match7 = _compiled(
    "[\\t ]*+((?>(?=[^#{}|&;<> \\t\\n])(?!(?:\\[\\[|\\]\\])(?=[;{}|&<> \\t\\n]))[^{}|&$;<> \\t\\n'\"\\\\]++(?=[;{}|&<> \\t\\n])))"
)
_match8 = _compiled(r"((?>[ \t]*+(?=[^#{}|&;<> \t\n])(?!(?:\[\[|\]\])(?=[;{}|&<> \t\n]))))")
_match9 = _compiled(
    "(?>(?P<text>(?>[^{}|&$;<> \\t\\n'\"\\\\]++))|(?P<escaped>(?>\\\\(?:x[0-9A-Fa-f]{2}|[^\\n]|\\n(?=[\\s\\S]))))|(?P<single_quoted>(?>'[^']*+'))|(?P<variable>(?>\\$(?:(?:[A-Za-z_][A-Za-z0-9_]*+|[0-9]++|[?#*@])|\\{(?:[A-Za-z_][A-Za-z0-9_]*+|[0-9]++|[?#*@])\\}))))"
)
_match10 = _compiled(r'((?>"))')
_match11 = _compiled(
    r'(?>(?P<quoted>(?>[^"$\\]++))|(?P<escaped>(?>\\[$"\\\n]))|(?P<quoted_variable>(?>\$(?:(?:[A-Za-z_][A-Za-z0-9_]*+|[0-9]++|[?#*@])|\{(?:[A-Za-z_][A-Za-z0-9_]*+|[0-9]++|[?#*@])\})))|(?P<backslash>(?>\\)))'
)
_match12 = _compiled(r'(?>")')
_match13 = _compiled(r'((?>\$"))')
_match14 = _compiled(
    r'(?>(?P<quoted>(?>[^"$\\]++))|(?P<escaped>(?>\\[$"\\\n]))|(?P<quoted_variable>(?>\$(?:(?:[A-Za-z_][A-Za-z0-9_]*+|[0-9]++|[?#*@])|\{(?:[A-Za-z_][A-Za-z0-9_]*+|[0-9]++|[?#*@])\})))|(?P<backslash>(?>\\))|(?P<dollar>(?>\$)))'
)
_match15 = _compiled(r"(?:(?>[\t ]*+(?>;(?!;))|[\t ]*+(?>(?:#[^\n]*+)?\n))(?:[\t ]*+(?>(?:#[^\n]*+)?\n))*+)?+")
_match16 = _compiled(r"[\t ]*+((?>\}))")
_match17 = _compiled(r"[\t ]*+((?>if(?=[;{}|&<> \t\n])))")
_match18 = _compiled(r"(?>[\t ]*+(?>;(?!;))|[\t ]*+(?>(?:#[^\n]*+)?\n))(?:[\t ]*+(?>(?:#[^\n]*+)?\n))*+")
_match19 = _compiled(r"[\t ]*+(?>then(?=[;{}|&<> \t\n]))")
_match20 = _compiled(r"[\t ]*+(?>elif(?=[;{}|&<> \t\n]))")
_match21 = _compiled(r"[\t ]*+(?>else(?=[;{}|&<> \t\n]))")
_match22 = _compiled(r"[\t ]*+((?>fi(?=[;{}|&<> \t\n])))")
_match23 = _compiled(r"[\t ]*+((?>for(?=[;{}|&<> \t\n])))")
_match24 = _compiled(r"[\t ]*+(?>in(?=[;{}|&<> \t\n]))")
_match25 = _compiled(r"[\t ]*+(?>do(?=[;{}|&<> \t\n]))")
_match26 = _compiled(r"[\t ]*+((?>done(?=[;{}|&<> \t\n])))")
_match27 = _compiled(r"[\t ]*+((?>(?:while|until)(?=[;{}|&<> \t\n])))")
_match28 = _compiled(r"[\t ]*+(?>;(?!;))")
_match29 = _compiled(r"(?>[^\n]*+\n?)")
_match30 = _compiled(r"(?>[ \t]*+(?=[^ \t]))")
_match31 = _compiled(
    "(?>(?P<text>(?>[^ \\t'\"\\\\]++))|(?P<escaped>(?>\\\\(?:x[0-9A-Fa-f]{2}|[\\s\\S]|\\Z)))|(?P<single_quoted>(?>'[^']*+'?)))"
)
_match32 = _compiled(r'(?>(?P<quoted>(?>[^"\\]++))|(?P<escaped>(?>\\[$"\\]))|(?P<backslash>(?>\\)))')


def _script(text: str, at: int, out: list[Any], build: Any) -> int:
    while True:
        if m := _match0(text, at):
            at = m.end()
        elif (end := _line_or_problem(text, at, out, build)) >= 0:
            at = end
        else:
            break
    return at


def _line_or_problem(text: str, at: int, out: list[Any], build: Any) -> int:
    size = len(out)
    try:
        return _line(text, at, out, build)
    except Fault as fault:
        del out[size:]
        out += build.problem(fault)
        at = fault.resume
        if not (m := _match29(text, at)):
            return -1
        at = m.end()
    return at


def _line(text: str, at: int, out: list[Any], build: Any) -> int:
    values: list[Any] = []
    if not (m := _match1(text, at)):
        return -1
    values += build.begin(text, m.start(1), (m[1],))
    at = m.end()
    if ((end := _function(text, at, values, build)) >= 0) or ((end := _a_command(text, at, values, build)) >= 0):
        at = end
    else:
        raise build.missing(text, at, "a command")
    while (end := _part4(text, at, values, build)) >= 0:
        at = end
    if (end := _part5(text, at, values, build)) >= 0:
        at = end
    elif m := _match0(text, at):
        at = m.end()
    else:
        raise build.missing(text, at, "';' or the end of the line")
    out += build.line(text, at, values)
    return at


def _function(text: str, at: int, out: list[Any], build: Any) -> int:
    values: list[Any] = []
    if not (m := _match2(text, at)):
        return -1
    at = m.end()
    if not (m := _match3(text, at)):
        raise build.missing(text, at, "a name")
    values.append(m[1])
    at = m.end()
    at = expect(_match4, text, at, build, "")
    if not (m := _match5(text, at)):
        raise build.missing(text, at, "'{'")
    values += build.open_brace(text, m.start(1), (m[1],))
    at = m.end()
    values.append([])
    at = _commands1(text, at, values[-1], build)
    at = expect(_match18, text, at, build, "';' or the end of the line")
    if not (m := _match16(text, at)):
        raise build.missing(text, at, "'}'")
    values += build.close_brace(text, m.start(1), (m[1],))
    at = m.end()
    out += build.function(text, at, values)
    return at


def _commands1(text: str, at: int, out: list[Any], build: Any) -> int:
    if not (m := _match4(text, at)):
        return -1
    at = m.end()
    if not ((end := _a_command(text, at, out, build)) >= 0):
        raise build.missing(text, at, "a command")
    at = end
    while (end := _part3(text, at, out, build)) >= 0:
        at = end
    return at


def _a_command(text: str, at: int, out: list[Any], build: Any) -> int:
    if (
        ((end := _grubcmd(text, at, out, build)) >= 0)
        or ((end := _ifcmd(text, at, out, build)) >= 0)
        or ((end := _forcmd(text, at, out, build)) >= 0)
        or ((end := _whilecmd(text, at, out, build)) >= 0)
    ):
        at = end
    else:
        return -1
    return at


def _grubcmd(text: str, at: int, out: list[Any], build: Any) -> int:
    values: list[Any] = []
    if not (m := _match6(text, at)):
        return -1
    at = m.end()
    values.append([])
    before = at
    while True:
        if m := _match7(text, at):
            values[-1] += build.plain_word(text, m.start(1), (m[1],))
            at = m.end()
        elif (end := _compound_word(text, at, values[-1], build)) >= 0:
            at = end
        else:
            break
    if at == before:
        return -1
    if (end := _block(text, at, values, build)) >= 0:
        at = end
    out += build.command(text, at, values)
    return at


def _compound_word(text: str, at: int, out: list[Any], build: Any) -> int:
    values: list[Any] = []
    if not (m := _match8(text, at)):
        return -1
    values += build.begin_word(text, m.start(1), (m[1],))
    at = m.end()
    before = at
    while True:
        if m := _match9(text, at):
            values += act(m, build)
            at = m.end()
        elif ((end := _text_in_double_quotes(text, at, values, build)) >= 0) or (
            (end := _translated_text(text, at, values, build)) >= 0
        ):
            at = end
        else:
            break
    if at == before:
        return -1
    values += build.here(text, at, ())
    out += build.word(text, at, values)
    return at


def _text_in_double_quotes(text: str, at: int, out: list[Any], build: Any) -> int:
    if not (m := _match10(text, at)):
        return -1
    out += build.open_quote(text, m.start(1), (m[1],))
    at = m.end()
    while m := _match11(text, at):
        out += act(m, build)
        at = m.end()
    return expect(_match12, text, at, build, "closing quote")


def _translated_text(text: str, at: int, out: list[Any], build: Any) -> int:
    if not (m := _match13(text, at)):
        return -1
    out += build.open_quote(text, m.start(1), (m[1],))
    at = m.end()
    while m := _match14(text, at):
        out += act(m, build)
        at = m.end()
    return expect(_match12, text, at, build, "closing quote")


def _block(text: str, at: int, out: list[Any], build: Any) -> int:
    values: list[Any] = []
    if not (m := _match5(text, at)):
        return -1
    values += build.open_brace(text, m.start(1), (m[1],))
    at = m.end()
    values.append([])
    at = _commands1(text, at, values[-1], build)
    at = expect(_match15, text, at, build, "")
    if not (m := _match16(text, at)):
        raise build.missing(text, at, "'}'")
    values += build.close_brace(text, m.start(1), (m[1],))
    at = m.end()
    out += build.block(text, at, values)
    return at


def _ifcmd(text: str, at: int, out: list[Any], build: Any) -> int:
    values: list[Any] = []
    if not (m := _match17(text, at)):
        return -1
    values += build.open(text, m.start(1), (m[1],))
    at = m.end()
    at = _if_statement(text, at, values, build)
    while (end := _part(text, at, values, build)) >= 0:
        at = end
    values.append([])
    if (end := _part1(text, at, values[-1], build)) >= 0:
        at = end
    if not (m := _match22(text, at)):
        raise build.missing(text, at, "'fi'")
    values += build.close(text, m.start(1), (m[1],))
    at = m.end()
    out += build.ifcmd(text, at, values)
    return at


def _if_statement(text: str, at: int, out: list[Any], build: Any) -> int:
    values: list[Any] = []
    values.append([])
    at = _commands1(text, at, values[-1], build)
    at = expect(_match18, text, at, build, "';' or the end of the line")
    at = expect(_match19, text, at, build, "'then'")
    values.append([])
    at = _commands1(text, at, values[-1], build)
    at = expect(_match18, text, at, build, "';' or the end of the line")
    out += build.bodies(text, at, values)
    return at


def _part(text: str, at: int, out: list[Any], build: Any) -> int:
    if not (m := _match20(text, at)):
        return -1
    at = m.end()
    return _if_statement(text, at, out, build)


def _part1(text: str, at: int, out: list[Any], build: Any) -> int:
    if not (m := _match21(text, at)):
        return -1
    at = m.end()
    at = _part2(text, at, out, build)
    while (end := _part3(text, at, out, build)) >= 0:
        at = end
    return expect(_match18, text, at, build, "';' or the end of the line")


def _part2(text: str, at: int, out: list[Any], build: Any) -> int:
    if not (m := _match4(text, at)):
        return -1
    at = m.end()
    if not ((end := _a_command(text, at, out, build)) >= 0):
        raise build.missing(text, at, "a command")
    return end


def _part3(text: str, at: int, out: list[Any], build: Any) -> int:
    size = len(out)
    if not (m := _match18(text, at)):
        return -1
    at = m.end()
    if not ((end := _a_command(text, at, out, build)) >= 0):
        del out[size:]
        return -1
    return end


def _forcmd(text: str, at: int, out: list[Any], build: Any) -> int:
    values: list[Any] = []
    if not (m := _match23(text, at)):
        return -1
    values += build.open(text, m.start(1), (m[1],))
    at = m.end()
    if not (m := _match3(text, at)):
        raise build.missing(text, at, "a name")
    values.append(m[1])
    at = m.end()
    at = expect(_match24, text, at, build, "'in'")
    values.append([])
    while True:
        if m := _match7(text, at):
            values[-1] += build.plain_word(text, m.start(1), (m[1],))
            at = m.end()
        elif (end := _compound_word(text, at, values[-1], build)) >= 0:
            at = end
        else:
            break
    if not ((end := _do_done(text, at, values, build)) >= 0):
        raise build.missing(text, at, "';' or the end of the line")
    at = end
    out += build.forcmd(text, at, values)
    return at


def _do_done(text: str, at: int, out: list[Any], build: Any) -> int:
    values: list[Any] = []
    if not (m := _match18(text, at)):
        return -1
    at = m.end()
    at = expect(_match25, text, at, build, "'do'")
    values.append([])
    at = _commands1(text, at, values[-1], build)
    at = expect(_match18, text, at, build, "';' or the end of the line")
    if not (m := _match26(text, at)):
        raise build.missing(text, at, "'done'")
    values += build.close(text, m.start(1), (m[1],))
    at = m.end()
    out += build.bodies(text, at, values)
    return at


def _whilecmd(text: str, at: int, out: list[Any], build: Any) -> int:
    values: list[Any] = []
    if not (m := _match27(text, at)):
        return -1
    values += build.open_loop(text, m.start(1), (m[1],))
    at = m.end()
    values.append([])
    at = _commands1(text, at, values[-1], build)
    if not ((end := _do_done(text, at, values, build)) >= 0):
        raise build.missing(text, at, "';' or the end of the line")
    at = end
    out += build.whilecmd(text, at, values)
    return at


def _part4(text: str, at: int, out: list[Any], build: Any) -> int:
    size = len(out)
    if not (m := _match28(text, at)):
        return -1
    at = m.end()
    if ((end := _function(text, at, out, build)) >= 0) or ((end := _a_command(text, at, out, build)) >= 0):
        at = end
    else:
        del out[size:]
        return -1
    return at


def _part5(text: str, at: int, out: list[Any], build: Any) -> int:
    if not (m := _match28(text, at)):
        return -1
    at = m.end()
    return expect(_match0, text, at, build, "a command")


def _words(text: str, at: int, out: list[Any], build: Any) -> int:
    while (end := _part6(text, at, out, build)) >= 0:
        at = end
    return at


def _part6(text: str, at: int, out: list[Any], build: Any) -> int:
    size = len(out)
    if not (m := _match30(text, at)):
        return -1
    at = m.end()
    if not ((end := _loose_word(text, at, out, build)) >= 0):
        del out[size:]
        return -1
    return end


def _loose_word(text: str, at: int, out: list[Any], build: Any) -> int:
    values: list[Any] = []
    before = at
    while True:
        if m := _match31(text, at):
            values += act(m, build)
            at = m.end()
        elif m := _match10(text, at):
            values += build.open_quote(text, m.start(1), (m[1],))
            at = m.end()
            while m := _match32(text, at):
                values += act(m, build)
                at = m.end()
            if m := _match12(text, at):
                at = m.end()
        else:
            break
    if at == before:
        return -1
    out += build.join(text, at, values)
    return at


RULES: dict[str, Rule] = {"script": _script, "words": _words}
