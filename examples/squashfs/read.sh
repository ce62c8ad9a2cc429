#!/bin/sh -e
# needs: CONFIG_SQUASHFS CONFIG_SQUASHFS_ZLIB
# An image of mksquashfs (at the end) is mounted, and what it shows is compared with what went into it:
#   mksquashfs FOLDER image -b 4096 -comp gzip -all-root -all-time 1600000000
. "$KMODPIPE_LIB"

mkdir mounted expected
seq 1 1000 > expected/numbers
yes 'squashfs keeps this line once' | head -c 300000 > expected/lines
: > expected/empty

sed '1,/^# image$/d' "$0" | cut -c3- | base64 -d | gzip -d > image
must mount -t squashfs -o loop,ro image mounted
cd mounted

# Contents: blocks of a long file, a tail end that shares a fragment, nothing at all, through a link.
cmp lines ../expected/lines
cmp folder/numbers ../expected/numbers
cmp link ../expected/numbers
cmp empty ../expected/empty
[ "$(readlink link)" = folder/numbers ]

# Names, links, owners and times.
[ "$(ls | tr '\n' ' ')" = 'empty folder lines link ' ]
[ "$(stat -c '%h %i' lines)" = "2 $(stat -c %i folder/same)" ]
[ "$(stat -c '%u %g %Y' folder)" = '0 0 1600000000' ]

# Read again from the image, in another order than it was written.
echo 3 > /proc/sys/vm/drop_caches
dd if=lines bs=4000 skip=60 count=5 of=../part 2>/dev/null
dd if=../expected/lines bs=4000 skip=60 count=5 2>/dev/null | cmp - ../part

# It is a file system that cannot be written to.
if echo x 2>/dev/null > lines; then exit 1; fi
cd ..
must umount mounted
exit 0
# image
# H4sIAAAAAAACA+1ZaVhSaRtGsWWmBZyr8UtDcrJdW2gRUahp+lKnTC3MpcnlEpcWi8IxUUNIu1pNGndrLL90wqNmak1mZmoqi5rkbuZSgthREz
# GXkqwPFJLDXPbz+/PxcA73ed/nvp/7fd9zPb/O4YBTAbNhskC6e8CQMJgWTH7Ph5Voa8F0ZM8i+YQsog2m8LICvyjCX39qPKhAF0X+jAKpre94
# rxbAkMhdpfQD/seWmZyjCuuKtwmrxYc706N9ntN4dkCe+4VXKF6ES7yPq+Ka8FxqFANmy8Wl35UYIf9dG5qR2BTu77KvYWMrfXzuFzcPp8xm3e
# up5d1jbTWco7pVrbw80yrF1Y8YhSOF4OaZvdvUrEe/Ovu4jkbQ7s8Hb8ws5oYYnghYjmjFZni7BnjkETOgC6+7A5rPLE5XaLKa35hZD6XQUqHi
# FU6gy8ziYYs2kQ36AdmRlyd66s1ydPWDLPv39yBjZrG68W5fiNh6J7h/6rwZG2XnXXjA9tiyJWaLnXyiP9df+BRE+zGk93JZp0Xy88fG7sd886
# 02TK/bh56zZMwSPKcin3pdLSlZlYlTcgtjdF/VEbf7vwQZ1n7KHkDpVU2/r+0tCy5tBm2/JX/cd1EUFNiTU3ORM0452JyFhMqTZoN4iLylKdxW
# RV4n+ECxyHa9XLhwa3Gm5QXBIqg80xt0+NbeAyvekJNrfNt17229/1uq89s10L2HxoBBM5+76cs1B5r6Tt4wDn7xdN+KqutSL8i5tx8Hnb+19K
# NhzkELOWsIURtYgut/PepT2zlhALz0rYObPK0XbtZb5PsOtMKrnXuY6K1A06KaFtW0qKZFNS2qaVFNi2paVNOimhbVtKimRTUt+v/Zonu61643
# 3WtaY2PixLXbu26102oe19SJy6vec4DL32NnGDf5e5YHa0s4sYXaatj860Odn+bqlBSx1pRqiem5C0NuiRH68c9QGEpWLkc/qIFKCiPVYEjVqI
# CrBRw8qQNzrBrbtQRjXX4RlWvVr+tXbrjPuINLFqJAaxF3K4WJNxZzDT6yx9nXSRUuYQKDY8xA9mNSowu5n9yPOx2ZTJJGjLb49VuevjrB/shO
# EpSb42oMOJ2h7AJBgzm5jdyGOxF5Q5B9auzR52TLE1elVrRUUfriuNSmdEJv5FBnUzq2A9uB2sCukjRRQ59s7jC0128/b7GNdub7j1uGAGE9jx
# Vrb3Lr4LYC+nGK2yFsc2NgkJt7fvMISF570mrMhFUGlAMVABvgAFyAB1QCVUkLfmLVAHzgBVAL1AH1QAPQCDQVHLS1u0/8m5hPLCAWEouIxcRS
# YlkA9u6f0ax41nXWTdZt1h1WBiubldcDbjZiiYFBQAIMAe+BYWAEGAXGgqU5XCCsN2wt/Sg9g95L107UWRnuSssQrradH1Omg/nVdlFMxTnMke
# pmzj3+LTjXmKrDfK2LD7cenIsuNfZd6oiTgXJuOHgAPrG9lkK7I3UYAwZI7T2PEWby1DLp2yrJXBXm4MXGzosolUqyRMsEhqdGqvdIViM9mgiu
# VCP1il2ivuYn5558fi29MsZ7b4PmGQcvZwr/wEdbD3FfOkegFM+KROTTnULq1/zTI+MZYKGI/pI7Elg/ttfDnCYYjiubKpBJXoFTLWaDLpCORw
# tUiwn/YIlxaqRg6S+xaqRGLEttFWdoFaOGfdHduVRT9BVOlxJ8PdgUvB6zgiRxUYLT8N11HJWxHHw8xF9pTsVaE3OHTV7wS74YXutLSLkVHjZv
# HPNaWfH09sXqFZvAhF1R056T8HhChwf1kLg0kuNQEKEec2R8X5/z8/ts0vsWvBnzuRL4YZ+FVH/0DY4oN1gB/W+D9kepjOVQE+bQrU5r3HAPNV
# XodHHNBH5M2ob4vfjFl1UHs5eCYX9Jk1So9eQC1LTnJNCktQkCiIcoN5MFx0E8/NHSkcW1Aed2hHPenKKi0BeUkEQ4yZWY4xcyywSDSqiNuYRS
# HcsghvDsH7RMP0PcdKFJ8BtzWM6RM+z4ewnmI8KGVCLfjoCfYK0quHkrhNGlQu0ZTVzBgXiUCRz5JArUA1/TV3p3FTZ1CbNKMPQIv14JlqHlMY
# JTwYfQCZxuJaT67cCpjmWADT0cq05ztk+gTBeahIEBjGMURJjAIRDuVUoe4U/YPyDUjdq+2nnc/m9C0+gh6VL/7pAHUOrdm4xuKsQjuK05lcKv
# PO+DrkilLmJ27cNftpasRm8NTY8XKJ4Vidr6fNTX/ORcJbq+W0Ujm2voDXaPUtHIEu/Qn9RJ4IIdaqR29xVCqqPYoMh/+GFtn5V4SdHJYXatCY
# fec01tFfcSYjrsslbh0UyOQEJVQkf/Vqso1QkZXOkIElKhvCf9FTbqtN+KdvAkarxC53U4qAFaPGy3Uk0paHfv+IdD7zr77PwSd3goon9XDrbU
# fVbov/p9cvJLv1h86JxTLIHfRIQcCodRW0leLs+4MG3tUxLkbHgZ3YixST/xmjBJ3+Hsmu1w+Kpo/LxruxmVhMTq8Nvx3/EOIY/PS3t3tkVv3k
# NO+PHcnAuF7jQjX2/qPITHyrScBm0vMyNf3w+IBL9ZmX6er+FdDz79GduwbOJJXVtaw20vb2JLyh2GV33SjuSzhjZwGNJh40JH+Rq8GTBfIyeY
# 18rZZucV3DmzrYwSkv5jjsHG6WdE6u7ejMnZmCbSi3Vc7+mt833eprTunrQ0PRwsLiKNsun9/iuIjXmwgmojOzNYABJhj2T8/MPU9x7TOVNopf
# j+YyD382QwZkUiD2pVBjHq5qR08VO2wMyStTM8FRwdhvz/nGKkCU1oQhOa+F/EfwH0EPprACAAAA==
