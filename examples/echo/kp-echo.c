// SPDX-License-Identifier: GPL-2.0
/* A network device that receives each frame that it sends. */
#include <linux/etherdevice.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>

#include "kp-mirror.h"

static struct net_device *echo;

static netdev_tx_t echo_xmit(struct sk_buff *skb, struct net_device *dev)
{
	unsigned int length = skb->len;

	skb = skb_share_check(skb, GFP_ATOMIC);
	if (!skb || skb_cow(skb, 0) || skb_linearize(skb)) {
		dev->stats.tx_dropped++;
		kfree_skb(skb);
		return NETDEV_TX_OK;
	}
	dev->stats.tx_packets++;
	dev->stats.tx_bytes += length;
	kp_mirror(skb);
	skb_orphan(skb);
	skb->protocol = eth_type_trans(skb, dev);
	dev->stats.rx_packets++;
	dev->stats.rx_bytes += length;
	netif_rx(skb);
	return NETDEV_TX_OK;
}

static const struct net_device_ops echo_ops = {
	.ndo_start_xmit = echo_xmit,
};

static void echo_setup(struct net_device *dev)
{
	ether_setup(dev);
	dev->netdev_ops = &echo_ops;
	dev->flags |= IFF_NOARP;
	eth_hw_addr_random(dev);
}

static int __init echo_init(void)
{
	int error;

	echo = alloc_netdev(0, "echo%d", NET_NAME_ENUM, echo_setup);
	if (!echo)
		return -ENOMEM;
	error = register_netdev(echo);
	if (error)
		free_netdev(echo);
	return error;
}

static void __exit echo_exit(void)
{
	unregister_netdev(echo);
	free_netdev(echo);
}

module_init(echo_init);
module_exit(echo_exit);
MODULE_DESCRIPTION("An example: a network device that needs another module");
MODULE_LICENSE("GPL");
