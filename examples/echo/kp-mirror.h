/* SPDX-License-Identifier: GPL-2.0 */
#ifndef KP_MIRROR_H
#define KP_MIRROR_H

struct sk_buff;

void kp_mirror(struct sk_buff *skb);

#endif
