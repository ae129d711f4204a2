/* Texts of iptables-save against each other, without I/O: what is ours in what a netns holds (`present`) and what is
 * wanted (a plan's text, iptablestext.h, or what was there before). The difference is what iptables-restore gets.
 *
 * `present` comes from a netns in which a container may have written what it likes: its bytes are not trusted. Nothing
 * of it goes into a text for iptables-restore but options and targets that we write ourselves: others could load a file
 * or start a program (-M) in the host's name.
 */
#ifndef CNI_CAPTURE_IPTABLESSAVE_H
#define CNI_CAPTURE_IPTABLESSAVE_H

#include "cni/capture/iptablestext.h"

/* Whether all that is ours is the same in both, rule by rule and in order (a rule's options in any order), and whether
 * the entries into our chains are the first of theirs. err gets the first difference. */
bool cni_iptables_same(struct fl_span present, struct fl_span wanted, struct fl_err *err);

/* Appends the input of `iptables-restore --noflush` that turns what is ours in `present` into what is ours in `wanted`
 * (empty: nothing), each table in one commit; the entries come first in their chains. Rules of others are not in it.
 * Nothing is appended where neither text has anything of ours. 0, -ENOMEM, -EMSGSIZE; -EINVAL where something that has
 * our name is not of our making (err has it). */
int cni_iptables_transition(struct fl_span present, struct fl_span wanted, struct fl_buf *out,
                            struct fl_err *err) FL_MUST_CHECK;

/* The comment of the first entry into our chains; false where there is none. */
bool cni_iptables_comment(struct fl_span present, char ret_comment[CNI_PLAN_COMMENT_MAX]);

#endif
