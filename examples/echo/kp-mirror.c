// SPDX-License-Identifier: GPL-2.0
/* Turn an Ethernet frame around. */
#include <linux/etherdevice.h>
#include <linux/module.h>
#include <linux/skbuff.h>

#include "kp-mirror.h"

void kp_mirror(struct sk_buff *skb)
{
	struct ethhdr *frame = (struct ethhdr *)skb->data;
	u8 sender[ETH_ALEN];

	ether_addr_copy(sender, frame->h_source);
	if (is_multicast_ether_addr(frame->h_dest))
		eth_zero_addr(frame->h_source);
	else
		ether_addr_copy(frame->h_source, frame->h_dest);
	ether_addr_copy(frame->h_dest, sender);
}
EXPORT_SYMBOL_GPL(kp_mirror);

MODULE_DESCRIPTION("An example: what another module needs");
MODULE_LICENSE("GPL");
