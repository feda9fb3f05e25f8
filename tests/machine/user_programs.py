"""An initramfs of programs linked against this host's glibc, each of which can be the guest's init."""

from __future__ import annotations

import gzip
import re
import subprocess
from pathlib import Path

from fixtures import cpio

# Says what is printed, then powers off: for programs that run as init.
PRELUDE = """
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static int finish(void) { fflush(stdout); return reboot(RB_POWER_OFF); }
"""
HELLO = """
int main(void) {
    printf("caches: %ld %ld %ld\\n", sysconf(_SC_LEVEL1_DCACHE_SIZE), sysconf(_SC_LEVEL2_CACHE_SIZE),
           sysconf(_SC_LEVEL3_CACHE_SIZE));
    fflush(stdout);
    if (!fork()) execl("/bin/dash", "dash", "-c", "echo a shell adds $((40 + 2))", (char *)0);
    wait(0);
    return finish();
}
"""
# Code made as compilers at run time do: write, turn executable, run; many times in the same page.
JIT = """
int main(void) {
    unsigned char *p = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int wrong = 0, i, j;
    for (i = 0; i < 50; i++) {
        mprotect(p, 4096, PROT_READ | PROT_WRITE);
        for (j = 0; j < 64; j++) {
            unsigned char code[6] = {0xb8, i, j, 0, 0, 0xc3}; /* mov $(j << 8 | i), %eax; ret */
            memcpy(p + 64 * j, code, 6);
        }
        mprotect(p, 4096, PROT_READ | PROT_EXEC);
        for (j = 0; j < 64; j++) wrong += ((int (*)(void))(p + 64 * j))() != (i | j << 8);
    }
    printf("wrong results: %d of %d\\n", wrong, 50 * 64);
    return finish();
}
"""
# A process that never enters the kernel, beside one that sleeps.
SPIN = """
int main(void) {
    int child = fork(), i;
    if (!child) { volatile unsigned long x = 0; for (;;) x++; }
    for (i = 0; i < 3; i++) {
        struct timespec t = {0, 50000000};
        nanosleep(&t, 0);
        printf("wake %d\\n", i);
        fflush(stdout);
    }
    kill(child, SIGKILL);
    wait(0);
    return finish();
}
"""
PROGRAMS = {"hello": HELLO, "jit": JIT, "spin": SPIN}
OTHER_PROGRAMS = (Path("/bin/dash"),)


def libraries(program: Path) -> set[Path]:
    """The shared libraries that a program loads, its loader included."""
    listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    return {Path(found) for found in re.findall(r"(/\S+) \(0x", listed)}


def initramfs(folder: Path) -> Path:
    """Compile the programs and pack them with what they load."""
    files: dict[str, Path] = {}
    for name, source in PROGRAMS.items():
        (folder / f"{name}.c").write_text(PRELUDE + source)
        subprocess.run(["gcc", "-O1", "-o", folder / name, folder / f"{name}.c"], check=True)
        files[name] = folder / name
    files |= {str(path).lstrip("/"): path for path in OTHER_PROGRAMS}
    files |= {str(path).lstrip("/"): path for program in list(files.values()) for path in libraries(program)}
    folders = {str(parent) for name in files for parent in Path(name).parents if str(parent) != "."} | {"dev"}
    archive = cpio.newc_archive(
        [
            *(cpio.directory(name) for name in sorted(folders)),
            cpio.character_device("dev/console", 5, 1),
            *(cpio.regular(name, path.read_bytes(), 0o755) for name, path in files.items()),
        ]
    )
    packed = folder / "initramfs.cpio.gz"
    packed.write_bytes(gzip.compress(archive, 1))
    return packed
