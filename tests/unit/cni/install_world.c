#include "tests/unit/cni/install_world.h"

#include "cni/install/confdir.h"
#include "cni/install/disk.h"
#include "tests/support/folder.h"
#include "tests/support/power.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

struct install_world world;

void install_assert_file(const char *folder, const char *name, const char *text)
{
    const char *there = folder_get(folder, name);
    if (text == NULL) {
        if (there != NULL)
            fail_msg("%s is there: %s", name, there);
        return;
    }
    if (there == NULL || strcmp(there, text) != 0)
        fail_msg("%s: %s", name, there != NULL ? there : "not there");
}

/* Of the shape that cni/launcher/payload.cmake makes, and small. */
static void make_source(void)
{
    char bytes[512] = "\177ELF what comes first fairlead-cni slot:";
    mkdir(world.source, 0755);
    mkdir(folder_in(world.source, "files"), 0755);
    folder_put(world.source, "launcher", fl_span_make(bytes, sizeof(bytes)));
    folder_put_str(folder_in(world.source, "files"), "ld.so", "the loader");
    folder_put_str(folder_in(world.source, "files"), "fairlead-cni", "the plugin");
}

void install_begin(void)
{
    folder_remove(world.root);
    folder_remove(world.after);
    assert_int_equal(mkdir(world.root, 0755), 0);
    assert_int_equal(mkdir(world.conf, 0755), 0);
    assert_int_equal(mkdir(world.bin, 0755), 0);
    world.settings = (struct cni_install_settings){.payload = {world.source, world.bin}, .conf_dir = world.conf};
    world.later =
        (struct cni_install_settings){.payload = {world.source, world.after_bin}, .conf_dir = world.after_conf};
}

int install_set_up(void **state)
{
    (void)state;
    snprintf(world.top, sizeof(world.top), "%s/fairlead-install-XXXXXX", power_place());
    assert_non_null(mkdtemp(world.top));
    snprintf(world.root, sizeof(world.root), "%s/root", world.top);
    snprintf(world.after, sizeof(world.after), "%s/after", world.top);
    snprintf(world.source, sizeof(world.source), "%s/source", world.top);
    snprintf(world.conf, sizeof(world.conf), "%s/conf", world.root);
    snprintf(world.bin, sizeof(world.bin), "%s/bin", world.root);
    snprintf(world.after_conf, sizeof(world.after_conf), "%s/conf", world.after);
    snprintf(world.after_bin, sizeof(world.after_bin), "%s/bin", world.after);
    make_source();
    install_begin();
    return 0;
}

int install_tear_down(void **state)
{
    (void)state;
    folder_remove(world.top);
    return 0;
}

struct cni_install_report install_reconcile(const struct cni_install_settings *with)
{
    struct cni_install_report report = {.state = CNI_INSTALL_FAILED};
    struct fl_err err = {0};
    if (cni_install_reconcile(with, &report, &err) != 0)
        fail_msg("reconcile: %s", err.text);
    return report;
}

void install_assert_state(const struct cni_install_settings *with, enum cni_install_state state, const char *says)
{
    struct cni_install_report report = install_reconcile(with);
    if (report.state != state || strstr(report.reason, says) == NULL)
        fail_msg("%s: %s", cni_install_state_name(report.state), report.reason);
}

void install_assert_removed(const struct cni_install_settings *with)
{
    struct fl_err err = {0};
    int result = cni_install_remove(with, 0, &err);
    if (result != 0)
        fail_msg("remove: %d %s", result, err.text);
    assert_int_not_equal(access(folder_in(with->payload.bin_dir, "fairlead-cni"), F_OK), 0);
    assert_int_not_equal(access(folder_in(with->payload.bin_dir, "fairlead-cni.d"), F_OK), 0);
}

void install_assert_usable(const struct cni_install_settings *with, const char *type, const char *where)
{
    FL_CLEANUP(cni_disk_close) struct cni_disk disk = CNI_DISK_CLOSED;
    struct cni_confdir confdir = {0};
    struct cni_conflist_facts facts;
    char version[CNI_PAYLOAD_NAME_MAX];
    struct fl_err err = {0};
    assert_int_equal(cni_disk_open(with->conf_dir, &disk, &err), 0);
    assert_int_equal(cni_confdir_list(&disk, &confdir, &err), 0);
    if (confdir.count == 0)
        fail_msg("%s: no configuration", where);
    const char *text = folder_get(with->conf_dir, confdir.names[0]);
    if (cni_conflist_read(fl_span_str(text), cni_confdir_is_list(confdir.names[0]), &facts, &err) != 0)
        fail_msg("%s: %s: %s", where, confdir.names[0], err.text);
    if (strstr(text, type) == NULL || facts.plugins != 1)
        fail_msg("%s: %s: %s", where, confdir.names[0], text);
    if (facts.ours > 0 && (access(folder_in(with->payload.bin_dir, "fairlead-cni"), X_OK) != 0 ||
                           cni_payload_in_force(&with->payload, version, &err) != 0 ||
                           access(folder_in(folder_in(with->payload.bin_dir, "fairlead-cni.d"), version), X_OK) != 0))
        fail_msg("%s: %s names a plugin that is not there", where, confdir.names[0]);
    cni_confdir_done(&confdir);
}
