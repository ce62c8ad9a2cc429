"""The agent's shell: what the kernel's command line asks for, and how a case's arguments come to `run`."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.agent import compile_with

# Reads a kernel's command line and says what it asks for; with more arguments, quotes those for sh instead.
PROGRAM = r"""
#include "shell.c"
static const char *cmdline;
long read_file(const char *path, char *buffer, size_t size)
{
    (void)path;
    return snprintf(buffer, size, "%s\n", cmdline);
}
void fatal(const char *what, const char *detail) { printf("%s: %s\n", what, detail); exit(2); }
void set_environment(const char *a, const char *b, const char *c) { (void)a; (void)b; (void)c; }
void tell_sections(const struct module *module) { (void)module; }
void rec_begin(const char *type) { (void)type; }
void rec_end(void) { }
void channel_drain(void) { }
int main(int argc, char **argv)
{
    struct by_hand found;

    for (int i = 2; i < argc; i++) {
        putchar(' ');
        quote(stdout, argv[i]);
    }
    if (argc > 2)
        return 0;
    cmdline = argv[1];
    shell_read(&found);
    printf("%d %d %s", found.shell, found.gdb, found.run ? found.run : "-");
    return 0;
}
"""


def test_only_its_own_words_ask_for_a_shell(tmp_path: Path) -> None:
    program = compile_with(tmp_path, PROGRAM)

    def asked(cmdline: str) -> str:
        return subprocess.run([program, cmdline], capture_output=True, text=True, check=True).stdout

    assert asked("console=ttyS0,115200 panic=-1 nolapic") == "0 0 -"
    assert asked("console=ttyS0 kmodpipe.shell nokaslr kmodpipe.gdb kmodpipe.case=a.b-1") == "1 1 a.b-1"
    assert asked("kmodpipe.shells xkmodpipe.gdb kmodpipe.case") == "0 0 -"


def test_arguments_are_quoted_for_the_shell(tmp_path: Path) -> None:
    program = compile_with(tmp_path, PROGRAM)
    words = ["a b", "it's", "''", "$HOME `id` \\", "*", "-n", "ü\n"]
    quoted = subprocess.run([program, "", *words], capture_output=True, text=True, check=True).stdout
    said = subprocess.run(["sh", "-c", f"printf '%s|' {quoted}"], capture_output=True, text=True, check=True)
    assert said.stdout == "".join(f"{word}|" for word in words)
