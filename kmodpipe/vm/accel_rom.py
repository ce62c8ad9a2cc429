"""The program that proves an accelerator: a ROM that the virtual CPU starts in, instead of a BIOS.

It goes through the same steps as a booting kernel and prints a letter on COM1 after each:

    r   real mode
    p   protected mode
    l   long mode, four levels of page tables
    t   20 timer interrupts through interrupt controller and local APIC, from `hlt`
    f   20 page faults, each repaired by its handler
    u   ring 3: 1000 system calls, and 20 timer interrupts that came while in ring 3

Then it writes `ANSWER` to isa-debug-exit at port 0xf4, and QEMU exits with status ``ANSWER << 1 | 1``.
All stages are needed: on one measured KVM the ROM passes r, p, l, t and f and dies on the way to ring 3, and
no Linux kernel prints even its first line there.

`CODE` is the assembled `SOURCE`; a test assembles it again and compares. By hand:

    as --64 -o rom.o rom.S && ld -Ttext=0xff000 -e 0xff000 -o rom.elf rom.o && objcopy -O binary rom.elf
"""

from __future__ import annotations

import base64

STAGES = {
    "": "before its first instruction",
    "r": "in real mode",
    "p": "in protected mode",
    "l": "in long mode",
    "t": "after timer interrupts",
    "f": "on the way to user mode",
    "u": "after user mode",
}
"""Where the program stopped, by the last letter that it printed."""

ANSWER = 0x2A
EXIT_STATUS = ANSWER << 1 | 1

_ROM_BYTES = 64 * 1024
_PAGE = 4096
_RESET = 0xFF0  # where the CPU starts: the last 16 bytes

SOURCE = r"""
# 64 KiB ROM; the CPU starts at its last 16 bytes, in real mode.
# 4 KiB of it holds code: offset 0xf000 of the ROM is linear 0xff000 (and 0xfffff000).
        .set    PML4, 0x10000
        .set    PDPT, 0x11000
        .set    PD,   0x12000
        .set    IDT,  0x13000
        .set    TSS,  0x14000
        .set    PD3,  0x15000
        .set    GDT,  0x16000
        .set    APIC, 0xfee00000
        .set    COM1, 0x3f8
        .macro  say c
        mov     $COM1, %dx
        mov     $\c, %al
        out     %al, %dx
        .endm
        .text
        .code16
start:  cli
        xor     %ax, %ax
        mov     %ax, %ds
        mov     %ax, %ss
        mov     $0x8000, %sp
        say     'r'
        lgdtl   %cs:(gdtr - start + 0xf000)
        mov     %cr0, %eax
        or      $1, %al
        mov     %eax, %cr0
        ljmpl   $8, $protected
        .code32
protected:
        mov     $16, %ax
        mov     %ax, %ds
        mov     %ax, %es
        mov     %ax, %ss
        mov     $0x8000, %esp
        say     'p'
        # identity map of the first 2 MiB, writable and for ring 3
        cld
        mov     $PML4, %edi
        xor     %eax, %eax
        mov     $0x6000 / 4, %ecx
        rep     stosl
        # the descriptors move to RAM, where the CPU can mark them
        mov     $gdt, %esi
        mov     $GDT, %edi
        mov     $(gdtr - gdt), %ecx
        rep     movsb
        lgdtl   gdtr2
        movl    $PDPT + 7, PML4
        movl    $PD + 7, PDPT
        movl    $0x87, PD
        movl    $PD3 + 3, PDPT + 24
        movl    $APIC + 0x93, PD3 + 0x1f7 * 8   # the local APIC, uncached
        mov     $PML4, %eax
        mov     %eax, %cr3
        mov     %cr4, %eax
        or      $0x20, %eax             # PAE
        mov     %eax, %cr4
        mov     $0xc0000080, %ecx       # EFER: LME and SCE
        rdmsr
        or      $0x101, %eax
        wrmsr
        mov     %cr0, %eax
        or      $0x80000000, %eax
        mov     %eax, %cr0
        ljmpl   $24, $long
        .code64
long:   say     'l'
        # gates: 14 (page fault) and 32 (timer)
        mov     $fault, %eax
        mov     $14, %edi
        call    gate
        mov     $tick, %eax
        mov     $32, %edi
        call    gate
        lidt    idtr
        movl    $0x8000, TSS + 4        # rsp0
        mov     $56, %ax
        ltr     %ax
        # the local APIC: on, LINT0 takes what the interrupt controller says
        mov     $APIC, %esi
        movl    $0x1ff, 0xf0(%rsi)
        movl    $0x700, 0x350(%rsi)
        # the two interrupt controllers: vectors from 32, timer only
        mov     $0x11, %al
        out     %al, $0x20
        mov     $32, %al
        out     %al, $0x21
        mov     $4, %al
        out     %al, $0x21
        mov     $1, %al
        out     %al, $0x21
        mov     $0xfe, %al
        out     %al, $0x21
        # the timer: 1193 Hz
        mov     $0x34, %al
        out     %al, $0x43
        mov     $0xe8, %al
        out     %al, $0x40
        mov     $0x03, %al
        out     %al, $0x40
        xor     %ebx, %ebx              # ticks
        xor     %r12d, %r12d            # page faults
        xor     %r13d, %r13d            # system calls
1:      sti
        hlt
        cmp     $20, %ebx
        jb      1b
        cli
        say     't'
        # twenty page faults, each repaired by its handler
        mov     $20, %r14d
2:      movq    $0, PD + 8
        mov     $PML4, %eax
        mov     %rax, %cr3
        movl    $1, 0x200000
        dec     %r14d
        jnz     2b
        say     'f'
        # ring 3, a thousand system calls with the timer running
        mov     $0xc0000081, %ecx       # STAR
        xor     %eax, %eax
        mov     $0x00200018, %edx       # sysret: 0x20 + 16, + 8; syscall: 0x18
        wrmsr
        mov     $0xc0000082, %ecx       # LSTAR
        mov     $kcall, %eax
        xor     %edx, %edx
        wrmsr
        mov     $0xc0000084, %ecx       # SFMASK: interrupts off
        mov     $0x200, %eax
        xor     %edx, %edx
        wrmsr
        xor     %ebx, %ebx
        pushq   $0x2b                   # ss
        pushq   $0x9000                 # rsp
        pushq   $0x202                  # rflags
        pushq   $0x33                   # cs
        pushq   $user
        iretq
user:   mov     $1000, %r14d
3:      xor     %eax, %eax
        syscall
        dec     %r14d
        jnz     3b
4:      pause
        cmp     $20, %ebx               # and twenty ticks that came while in ring 3
        jb      4b
        mov     $1, %eax
        syscall

kcall:  inc     %r13d
        test    %eax, %eax
        jnz     5f
        sysretq
5:      say     'u'
        # the answer: 20 ticks or more, 20 faults, 1001 calls
        xor     %eax, %eax
        cmp     $20, %r12d
        jne     6f
        cmp     $1001, %r13d
        jne     6f
        mov     $0x2a, %eax
6:      mov     $0xf4, %dx
        out     %al, %dx
7:      hlt
        jmp     7b

gate:   shl     $4, %edi
        add     $IDT, %edi
        mov     %ax, (%rdi)
        movw    $24, 2(%rdi)
        movw    $0x8e00, 4(%rdi)
        shr     $16, %eax
        mov     %ax, 6(%rdi)
        ret

fault:  inc     %r12d
        movq    $0x200087, PD + 8
        add     $8, %rsp
        iretq

tick:   push    %rax
        inc     %ebx
        mov     $0x20, %al
        out     %al, $0x20
        pop     %rax
        iretq

        .balign 8
gdt:    .quad   0
        .quad   0x00cf9b000000ffff      # 0x08 code, 32 bits
        .quad   0x00cf93000000ffff      # 0x10 data
        .quad   0x00af9b000000ffff      # 0x18 code, 64 bits
        .quad   0x00cf93000000ffff      # 0x20 data (syscall: 0x18 + 8)
        .quad   0x00cff3000000ffff      # 0x28 data, ring 3
        .quad   0x00affb000000ffff      # 0x30 code, 64 bits, ring 3
        .quad   0x0000890140000067      # 0x38 TSS
        .quad   0
gdtr:   .word   gdtr - gdt - 1
        .long   gdt
        .word   0
gdtr2:  .word   gdtr - gdt - 1
        .long   GDT
        .word   0
idtr:   .word   33 * 16 - 1
        .quad   IDT
        .org    0xff0
        .code16
        ljmp    $0xf000, $0xf000
        .org    0x1000
"""

CODE = base64.b64decode("""
+jHAjtiO0LwAgLr4A7By7i5mDwEWoPIPIMAMAQ8iwGbqJ/APAAgAZrgQAI7YjsCO0LwAgAAAZrr4A7Bw7vy/AAABADHAuQAYAADz
q75Y8g8AvwBgAQC5SAAAAPOkDwEVqPIPAMcFAAABAAcQAQDHBQAQAQAHIAEAxwUAIAEAhwAAAMcFGBABAANQAQDHBbhfAQCTAOD+
uAAAAQAPItgPIOCDyCAPIuC5gAAAwA8yDQEBAAAPMA8gwA0AAACADyLA6sfwDwAYAGa6+AOwbO64NPIPAL8OAAAA6DcBAAC4SfIP
AL8gAAAA6CgBAAAPARwlsPIPAMcEJQRAAQAAgAAAZrg4AA8A2L4AAOD+x4bwAAAA/wEAAMeGUAMAAAAHAACwEeYgsCDmIbAE5iGw
AeYhsP7mIbA05kOw6OZAsAPmQDHbRTHkRTHt+/SD+xRy+fpmuvgDsHTuQb4UAAAASMcEJQggAQAAAAAAuAAAAQAPItjHBCUAACAA
AQAAAEH/znXcZrr4A7Bm7rmBAADAMcC6GAAgAA8wuYIAAMC45fEPADHSDzC5hAAAwLgAAgAAMdIPMDHbaitoAJAAAGgCAgAAajNo
yPEPAEjPQb7oAwAAMcAPBUH/znX385CD+xRy+bgBAAAADwVB/8WFwHUDSA8HZrr4A7B17jHAQYP8FHUOQYH96QMAAHUFuCoAAABm
uvQA7vTr/cHnBIHHADABAGaJB2bHRwIYAGbHRwQAjsHoEGaJRwbDQf/ESMcEJQggAQCHACAASIPECEjPUP/DsCDmIFhIz420AACQ
AAAAAAAAAAD//wAAAJvPAP//AAAAk88A//8AAACbrwD//wAAAJPPAP//AAAA888A//8AAAD7rwBnAABAAYkAAAAAAAAAAAAARwBY
8g8AAABHAABgAQAAAA8CADABAAAA
""")


def image(code: bytes = CODE) -> bytes:
    """Return the 64 KiB ROM for ``-bios``: the code in its last page, a far jump at the reset vector."""
    page = bytearray(_PAGE)
    page[: len(code)] = code
    page[_RESET : _RESET + 5] = bytes.fromhex("ea00f000f0")  # ljmp $0xf000, $0xf000
    return b"\xff" * (_ROM_BYTES - _PAGE) + bytes(page)
