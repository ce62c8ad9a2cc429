# ioctl(3, COMMAND, ARGUMENT) for a shell that has no program for it. Standard input: the command's number in four
# bytes, then the argument, of which bytes 12 to 15 say how long it is (as in struct dm_ioctl). Standard output: the
# argument as the kernel leaves it. Exit status: 0, or the errno.
#
#   as ioctl.S -o ioctl.o && ld -N -s -z noseparate-code --build-id=none ioctl.o -o ioctl && base64 ioctl
.intel_syntax noprefix
.globl _start
_start:
        xor     eax, eax                # read(0, buffer, 16384)
        xor     edi, edi
        lea     rsi, [rip + buffer]
        mov     rbx, rsi
        mov     edx, 16384
        syscall
        mov     eax, 16                 # ioctl(3, command, argument)
        mov     edi, 3
        mov     esi, [rbx]
        add     rbx, 4
        mov     rdx, rbx
        syscall
        mov     ebp, eax
        mov     eax, 1                  # write(1, argument, its size)
        mov     edi, 1
        mov     rsi, rbx
        mov     edx, [rbx + 12]
        syscall
        mov     eax, 60                 # exit(errno)
        mov     edi, ebp
        neg     edi
        syscall
.lcomm buffer, 16384
