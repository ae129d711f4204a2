/* What a text of iptables-save does to one packet: its rules walked as the kernel walks them, without a kernel. Knows
 * the matches and targets that cni/capture/iptablestext writes, and no others: a word that it does not know fails the
 * test. */
#ifndef TESTS_CNI_IPTABLES_WALK_H
#define TESTS_CNI_IPTABLES_WALK_H

#include "tests/unit/cni/plan_walk.h"

#define IPTABLES_WALK_RULES 512

struct iptables_match {
    bool negated;
    char option[12];
    char value[128];
};

struct iptables_rule {
    char table[8], chain[32];
    size_t count;
    struct iptables_match matches[12]; /* -s, -d, -i, -o, -p, --sport, … */
    char target[32];
    uint16_t number; /* --to-ports, --zone */
};

struct iptables_text {
    size_t count;
    struct iptables_rule rules[IPTABLES_WALK_RULES];
};

void iptables_walk_read(struct fl_span text, struct iptables_text *ret_text);
/* ret_decision->rule stays NULL. */
void iptables_walk_decide(const struct iptables_text *text, const struct cni_packet *packet,
                          struct cni_decision *ret_decision);

#endif
