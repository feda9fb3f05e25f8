"""How runs of real (tiny) guests end, go on, and are bounded."""

from __future__ import annotations

import threading

import pytest

from pvboot.kexec.vcpu import VcpuContext
from pvboot.machine.errors import MachineError, RefusedError
from pvboot.machine.machine import Machine
from pvboot.machine.outcome import RunLimits, describe
from pvboot.xen.paging import PTE_GUEST_KERNEL, PTE_USER
from tests.machine.guests import BASE, DATA_PAGE, HANDLERS, SPARE_PAGE, Guest, wait_for

BOTH = pytest.mark.parametrize("width", [64, 32])


@BOTH
def test_a_wedged_guest_ends_by_the_cpu_limit(width: int) -> None:
    guest = Guest(width, "start: jmp start")
    outcome = guest.run(RunLimits(cpu_seconds=0.3))
    assert outcome.reason == "cpu-limit" and outcome.report is not None
    assert outcome.report.registers["ip"] >= BASE[width]


@BOTH
def test_a_busy_but_silent_guest_ends_as_silent(width: int) -> None:
    guest = Guest(width, "start: hypercall 17\n jmp start")
    outcome = guest.run(RunLimits(cpu_seconds=20, silent_seconds=0.3))
    assert outcome.reason == "silent" and outcome.counters["xen_version"] > 100


@BOTH
def test_output_keeps_a_guest_from_being_silent(width: int) -> None:
    guest = Guest(width, 'start: say text, 2\n jmp start\n text: .ascii "x\\n"')
    outcome = guest.run(RunLimits(cpu_seconds=0.6, silent_seconds=0.4))
    assert outcome.reason == "cpu-limit"


def test_blocking_without_a_wake_up_is_halted() -> None:
    # no periodic timer, then block
    source = "start: movl $7, %edi; hypercall 24; hypercall2 24, 7, 0; movl $1, %edi; hypercall 29; shutdown 0"
    assert Guest(64, source).run().reason == "halted"


def test_sleeping_for_ever_is_silent() -> None:
    outcome = Guest(64, "start: movl $1, %edi\n hypercall 29\n jmp start").run(RunLimits(idle_seconds=0.3))
    assert outcome.reason == "silent"


def test_printing_between_sleeps_is_bounded_by_the_clock() -> None:
    source = 'start: say text, 2\n movl $1, %edi\n hypercall 29\n jmp start\n text: .ascii "x\\n"'
    outcome = Guest(64, source).run(RunLimits(cpu_seconds=20, wall_seconds=0.5))
    assert outcome.reason == "time-limit" and not outcome.ok


@BOTH
@pytest.mark.parametrize(
    ("code", "reason"), [(0, "poweroff"), (1, "reboot"), (2, "suspend"), (3, "crash"), (4, "watchdog"), (77, "crash")]
)
def test_shutdown_reasons(width: int, code: int, reason: str) -> None:
    outcome = Guest(width, f"start: shutdown {code}").run()
    assert (outcome.reason, outcome.code) == (reason, code)
    assert (outcome.report is None) == outcome.ok


@BOTH
def test_running_on_after_a_pattern(width: int) -> None:
    texts = 'first: .ascii "hello world\\n"; second: .ascii "hello again\\n"'
    guest = Guest(width, f"start: say first, 12; say second, 12; shutdown 0; {texts}")
    outcome = guest.run(until=b"world")
    assert outcome.reason == "until" and outcome.ok and guest.printed == b"hello world\n"
    assert guest.run(until=b"never").reason == "poweroff"
    assert guest.printed == b"hello world\nhello again\n"
    assert outcome.first_console is not None and outcome.first_hypercall is not None


POLLER = """
    start:
        say prompt, 2
        movq data, %rbx
    wait:
        movl 3076(%rbx), %eax       # in_prod
        cmpl %eax, 3072(%rbx)
        je wait
        movb (%rbx), %al
        movb %al, prompt
        say prompt, 2
        shutdown 0
    prompt: .ascii "> "
"""


def test_typed_input_reaches_a_guest_that_only_polls() -> None:
    """A loop over the ring without hypercalls, as a boot loader's prompt may be."""
    guest = Guest(64, POLLER)
    guest.poke(DATA_PAGE, 0, guest.layout.va_of(guest.layout.segment("console").pfn).to_bytes(8, "little"))
    typist = threading.Thread(target=lambda: (wait_for(guest.printed, b"> "), guest.machine.feed(b"k")))
    typist.start()
    guest.run_to_power_off()
    typist.join()
    assert guest.printed == b"> k "


def test_more_input_than_the_ring_holds_does_not_keep_a_guest_from_running() -> None:
    guest = Guest(64, "start: movl $100000, %ecx\n again: pause\n decl %ecx\n jnz again\n shutdown 0")
    guest.machine.feed(b"x" * 3000)
    guest.run_to_power_off()


EATER = """
    start:
        movq data, %rbx
    wait:
        movl 3076(%rbx), %eax       # in_prod
        subl 3072(%rbx), %eax       # in_cons
        addl %eax, 3072(%rbx)
        addl %eax, data + 8
        cmpl $5000, data + 8
        jb wait
        shutdown 0
"""


def test_the_ring_is_filled_as_the_guest_consumes() -> None:
    guest = Guest(64, EATER)
    guest.poke(DATA_PAGE, 0, guest.layout.va_of(guest.layout.segment("console").pfn).to_bytes(8, "little"))
    guest.machine.feed(b"x" * 5000)
    guest.run_to_power_off()


def test_a_run_is_stopped_from_another_thread() -> None:
    guest = Guest(64, 'start: say text, 1\n again: hypercall 17\n jmp again\n text: .ascii "x"')
    stopper = threading.Thread(target=lambda: (wait_for(guest.printed, b"x"), guest.machine.stop()))
    stopper.start()
    outcome = guest.run()
    stopper.join()
    assert outcome.reason == "stopped" and not outcome.ok
    # It was responsive, so it can go on.
    assert guest.run(RunLimits(cpu_seconds=0.1)).reason == "cpu-limit"


def test_a_pattern_may_come_in_pieces() -> None:
    guest = Guest(64, 'start: say first, 3; say second, 3; jmp start; first: .ascii "abc"; second: .ascii "def"')
    assert guest.run(until=b"cdefab").reason == "until"


def test_user_entries_keep_their_flags() -> None:
    """A 64-bit kernel page carries Xen's mark, a user page does not."""
    guest = Guest(64, "start: shutdown 0")
    marks = PTE_USER | PTE_GUEST_KERNEL
    assert int(guest.machine.frames[guest.l1_mfn, SPARE_PAGE]) & marks == marks


@BOTH
@pytest.mark.parametrize("loop", ["ud2", "int3", "cli", "inb $0x80, %al", "cpuid", "pause"])
def test_loops_of_any_exit_obey_the_limit(width: int, loop: str) -> None:
    """A guest that only ever traps, and never makes a hypercall."""
    start = "start: set_traps\n mov @sp, data + 0x110\n"
    guest = Guest(width, f"{HANDLERS}\n {start} again: {loop}\n jmp again\n resume: mov data + 0x110, @sp\n jmp again")
    outcome = guest.run(RunLimits(cpu_seconds=0.3))
    assert outcome.reason == "cpu-limit", describe(outcome)


@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError])
def test_what_the_output_raises_comes_out_of_run(error: type[BaseException]) -> None:
    def broken(data: bytes) -> None:
        raise error

    guest = Guest(64, 'start: say text, 1\n shutdown 0\n text: .ascii "x"')
    guest.machine.domain._output = broken
    with pytest.raises(error):
        guest.run()


def test_a_machine_without_a_context_does_not_run() -> None:
    with pytest.raises(MachineError):
        Machine(64, 64).run()


def test_an_ended_guest_does_not_run_again() -> None:
    guest = Guest(64, "start: shutdown 0")
    guest.run()
    with pytest.raises(MachineError):
        guest.run()


@BOTH
def test_the_toolstack_is_refused_what_xen_refuses(width: int) -> None:
    machine = Machine(width, 64)
    free = int(machine.p2m[3])
    machine.frames[free, 0] = 2 << 12 | 0x67  # a hypervisor frame
    with pytest.raises(RefusedError) as caught:
        machine.toolstack_pin(free, width // 32 + 1 if width == 64 else 3)
    assert caught.value.number == 22 and "EINVAL" in str(caught.value)
    context = VcpuContext(width, 0, 0, 0, cr3_mfn=2)
    with pytest.raises(RefusedError):
        machine.set_vcpu(context)
    with pytest.raises(RefusedError):
        machine.attach_console(2)
    with pytest.raises(MachineError):
        machine.fill_hypercall_page(2)
    with pytest.raises(MachineError):
        machine.toolstack_pin(free, 5)


@BOTH
def test_hypercall_page_stubs(width: int) -> None:
    """A guest calls through its hypercall page."""
    source = "start: mov $0, @arg1\n mov $spare + 17 * 32, @ax\n call *@ax\n mov @ax, data\n shutdown 0"
    guest = Guest(width, source)
    guest.machine.fill_hypercall_page(guest.mfn(SPARE_PAGE))
    guest.run_to_power_off()
    assert guest.words(DATA_PAGE, 0, 1) == [4 << 16 | 17]
