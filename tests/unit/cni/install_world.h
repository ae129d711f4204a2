/* A host for the installer: a folder of configurations, a folder of plugins, a small payload, and the place where what
 * a power cut left is looked at. The assertions name what they found. Linked with fl_power_test; one per program. */
#ifndef TESTS_UNIT_CNI_INSTALL_WORLD_H
#define TESTS_UNIT_CNI_INSTALL_WORLD_H

#include "cni/install/install.h"

/* A list, and DONE: with ours in it; a single configuration, and WRAP: the list that it becomes. */
#define LIST                                                                                                           \
    "{\n  \"cniVersion\": \"1.0.0\",\n  \"name\": \"net\",\n  \"plugins\": [\n    {\"type\": \"bridge\"}\n  ]\n}\n"
#define OURS  "{\"type\":\"fairlead-cni\",\"capabilities\":{\"io.kubernetes.cri.pod-annotations\":true}}"
#define ADDED ",\n    " OURS
#define HEAD  "{\n  \"cniVersion\": \"1.0.0\",\n  \"name\": \"net\",\n  \"plugins\": [\n    {\"type\": \"bridge\"}"
#define TAIL  "\n  ]\n}\n"
#define DONE  HEAD ADDED TAIL
#define CONF  "{\"name\":\"cbr0\",\"type\":\"flannel\"}\n"
#define WRAP                                                                                                           \
    "{\"cniVersion\":\"0.3.1\",\"name\":\"cbr0\",\"fairlead.io/wrapped\":\"10-f.conf\",\"plugins\":["                  \
    "{\"name\":\"cbr0\",\"type\":\"flannel\"}," OURS "\n]}\n"

struct install_world {
    char top[64], root[128], after[128], source[128]; /* root and after lie in top, as does the payload */
    char conf[160], bin[160], after_conf[160], after_bin[160];
    struct cni_install_settings settings, later; /* in root; in what a power cut left */
};

extern struct install_world world;

int install_set_up(void **state); /* of the group */
int install_tear_down(void **state);
void install_begin(void); /* anew: both folders are empty, the settings as they are by default */

/* A pass of the installer that answers. */
struct cni_install_report install_reconcile(const struct cni_install_settings *with);
/* A pass, which ends in `state` for a reason that has `says` in it. */
void install_assert_state(const struct cni_install_settings *with, enum cni_install_state state, const char *says);
/* Takes it out: nothing of the plugin is left. */
void install_assert_removed(const struct cni_install_settings *with);

/* The file holds `text`; NULL: there is none. */
void install_assert_file(const char *folder, const char *name, const char *text);
/* What a runtime would make of the folder: the first file is whole, has the network's own plugin (`type`), and names
 * ours only where it is in force. `where` goes before the message. */
void install_assert_usable(const struct cni_install_settings *with, const char *type, const char *where);

#endif
