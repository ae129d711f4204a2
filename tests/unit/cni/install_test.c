/* cni/install/install: which file is edited, that others lose nothing, whatever they write and when, and that taking it
 * out leaves what was there before. What breaks off is in install_power_test. */
#include "cni/install/install.h"

#include "tests/support/folder.h"
#include "tests/support/power.h"
#include "tests/unit/cni/install_world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

static void test_chained(void **state)
{
    (void)state;
    struct stat status;
    install_begin();
    folder_put_str(world.conf, "10-net.conflist", LIST);
    folder_put_str(world.conf, "20-other.conflist", LIST);
    assert_int_equal(chmod(folder_in(world.conf, "10-net.conflist"), 0640), 0);
    if (geteuid() == 0)
        assert_int_equal(chown(folder_in(world.conf, "10-net.conflist"), 7, 8), 0);
    struct cni_install_report report = install_reconcile(&world.settings);
    assert_int_equal(report.state, CNI_INSTALL_INSTALLED);
    assert_true(report.payload_written && report.conflist_written);
    assert_string_equal(report.conflist, "10-net.conflist");
    assert_string_equal(report.reason, "");
    install_assert_file(world.conf, "10-net.conflist", DONE);
    install_assert_file(world.conf, "20-other.conflist", LIST);
    assert_int_equal(stat(folder_in(world.conf, "10-net.conflist"), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0640);
    assert_true(geteuid() != 0 || (status.st_uid == 7 && status.st_gid == 8));
    assert_int_equal(access(folder_in(world.bin, "fairlead-cni"), X_OK), 0);
    report = install_reconcile(&world.settings);
    assert_int_equal(report.state, CNI_INSTALL_INSTALLED);
    assert_false(report.payload_written || report.conflist_written);
    install_assert_removed(&world.settings);
    install_assert_file(world.conf, "10-net.conflist", LIST);
    install_assert_removed(&world.settings);
    install_assert_file(world.conf, "10-net.conflist", LIST);
}

/* As containerd and CRI-O choose. */
static void test_which_file(void **state)
{
    (void)state;
    static const struct {
        const char *files[4], *conflist, *network, *chosen;
    } rows[] = {
        {{"10-a.conflist", "9-b.conflist"}, NULL, NULL, "10-a.conflist"}, /* by bytes, not by numbers */
        {{"a.conflist", "B.conflist"}, NULL, NULL, "B.conflist"},
        {{".a.conflist", "00.conflist"}, NULL, NULL, ".a.conflist"}, /* runtimes do not leave out dots */
        {{"00-x.conflist.bak", "00-x.CONFLIST", "01.conflist"}, NULL, NULL, "01.conflist"},
        {{"10-a.conflist", "20-b.conflist"}, "20-b.conflist", NULL, "20-b.conflist"},
        {{"10-a.conflist", "20-b.conflist"}, NULL, "net", "10-a.conflist"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        install_begin();
        mkdir(folder_in(world.conf, "00-folder.conflist"), 0755);
        for (size_t file = 0; rows[i].files[file] != NULL; file++)
            folder_put_str(world.conf, rows[i].files[file], LIST);
        world.settings.conflist = rows[i].conflist;
        world.settings.network = rows[i].network;
        struct cni_install_report report = install_reconcile(&world.settings);
        assert_int_equal(report.state, CNI_INSTALL_INSTALLED);
        assert_string_equal(report.conflist, rows[i].chosen);
        for (size_t file = 0; rows[i].files[file] != NULL; file++)
            install_assert_file(world.conf, rows[i].files[file],
                                strcmp(rows[i].files[file], rows[i].chosen) == 0 ? DONE : LIST);
    }
    /* CRI-O: by the network's name, past what it cannot read */
    install_begin();
    folder_put_str(world.conf, "10-a.conflist", "{");
    folder_put_str(world.conf, "20-b.conflist", DONE);
    folder_put_str(world.conf, "30-c.conf", CONF);
    world.settings.network = "cbr0";
    install_assert_state(&world.settings, CNI_INSTALL_INSTALLED, "");
    install_assert_file(world.conf, "20-b.conflist", DONE);
    assert_non_null(folder_get(world.conf, "30-c.conflist"));
    world.settings.network = "other";
    install_assert_state(&world.settings, CNI_INSTALL_WAITING, "no file with the network other yet");
}

static void test_what_is_left_alone(void **state)
{
    (void)state;
    install_begin();
    install_assert_state(&world.settings, CNI_INSTALL_WAITING, "no network configuration yet");
    folder_put_str(world.conf, "20-net.conflist", LIST);
    folder_put_str(world.conf, "10-net.conflist", "{\"cniVersion\":\"1.0.0\",\n\"name");
    install_assert_state(&world.settings, CNI_INSTALL_UNREADABLE,
                         "10-net.conflist: line 2, column 6: the text ends inside a string");
    folder_put_str(world.conf, "10-net.conflist", "");
    install_assert_state(&world.settings, CNI_INSTALL_UNREADABLE, "10-net.conflist");
    install_assert_file(world.conf, "20-net.conflist", LIST); /* a runtime would not go past the first one either */
    folder_put_str(world.conf, "10-net.conflist",
                   "{\"cniVersion\":\"0.2.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"a\"}]}");
    install_assert_state(&world.settings, CNI_INSTALL_UNFIT, "$.cniVersion");
    unlink(folder_in(world.conf, "10-net.conflist"));
    assert_int_equal(symlink("20-net.conflist", folder_in(world.conf, "10-net.conflist")), 0);
    install_assert_state(&world.settings, CNI_INSTALL_UNFIT, "symbolic link");
    unlink(folder_in(world.conf, "10-net.conflist"));
    assert_int_equal(mkfifo(folder_in(world.conf, "10-net.conflist"), 0600), 0);
    install_assert_state(&world.settings, CNI_INSTALL_FAILED, "no regular file");
    unlink(folder_in(world.conf, "10-net.conflist"));
    world.settings.conf_dir = folder_in(world.root, "nowhere");
    install_assert_state(&world.settings, CNI_INSTALL_WAITING, "is not there yet");
    world.settings.conf_dir = folder_in(world.source, "launcher");
    install_assert_state(&world.settings, CNI_INSTALL_FAILED, "a folder is expected");
    world.settings.conf_dir = world.conf;
    world.settings.payload.bin_dir = folder_in(world.root, "nowhere");
    install_assert_state(&world.settings, CNI_INSTALL_WAITING, "no folder of plugins");
    install_assert_file(world.conf, "20-net.conflist", LIST);
    world.settings.payload.bin_dir = world.bin;
    world.settings.conflist = "x.conflist";
    install_assert_state(&world.settings, CNI_INSTALL_WAITING, "x.conflist is not there yet");
}

static void test_wrapped(void **state)
{
    (void)state;
    install_begin();
    folder_put_str(world.conf, "10-f.conf", CONF);
    assert_int_equal(chmod(folder_in(world.conf, "10-f.conf"), 0604), 0);
    install_assert_state(&world.settings, CNI_INSTALL_INSTALLED, "");
    install_assert_file(world.conf, "10-f.conf", NULL);
    install_assert_file(world.conf, "10-f.conflist", WRAP);
    install_assert_file(world.conf, "10-f.conf.fairlead-backup", CONF);
    assert_false(install_reconcile(&world.settings).conflist_written);
    /* its owner writes it again: it counts, and is wrapped again */
    folder_put_str(world.conf, "10-f.conf", "{\"name\":\"cbr1\",\"type\":\"flannel\"}");
    install_assert_state(&world.settings, CNI_INSTALL_INSTALLED, "");
    install_assert_file(world.conf, "10-f.conf", NULL);
    assert_non_null(strstr(folder_get(world.conf, "10-f.conflist"), "cbr1"));
    folder_put_str(world.conf, "10-f.conf", CONF);
    assert_int_equal(chmod(folder_in(world.conf, "10-f.conf"), 0604), 0);
    install_assert_state(&world.settings, CNI_INSTALL_INSTALLED, "");
    install_assert_removed(&world.settings);
    struct stat status;
    install_assert_file(world.conf, "10-f.conf", CONF);
    assert_int_equal(stat(folder_in(world.conf, "10-f.conf"), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0604);
    install_assert_file(world.conf, "10-f.conflist", NULL);
    install_assert_file(world.conf, "10-f.conf.fairlead-backup", NULL);
}

static void test_wrapped_and_then(void **state)
{
    (void)state;
    /* the backup is gone: the bytes are in the list */
    install_begin();
    folder_put_str(world.conf, "10-f.conf", CONF);
    install_assert_state(&world.settings, CNI_INSTALL_INSTALLED, "");
    unlink(folder_in(world.conf, "10-f.conf.fairlead-backup"));
    install_assert_removed(&world.settings);
    install_assert_file(world.conf, "10-f.conf", CONF);
    /* somebody chained something else into the list: it stays a list */
    install_begin();
    folder_put_str(world.conf, "10-f.conf", CONF);
    install_assert_state(&world.settings, CNI_INSTALL_INSTALLED, "");
    folder_put_str(
        world.conf, "10-f.conflist",
        "{\"cniVersion\":\"0.3.1\",\"name\":\"cbr0\",\"fairlead.io/wrapped\":\"10-f.conf\",\"plugins\":[" CONF
        ",{\"type\":\"x\"}," OURS "]}");
    install_assert_removed(&world.settings);
    install_assert_file(world.conf, "10-f.conf", NULL);
    install_assert_file(
        world.conf, "10-f.conflist",
        "{\"cniVersion\":\"0.3.1\",\"name\":\"cbr0\",\"fairlead.io/wrapped\":\"10-f.conf\",\"plugins\":[" CONF
        ",{\"type\":\"x\"}]}");
    /* a list of somebody else has the name already */
    install_begin();
    folder_put_str(world.conf, "10-f.conf", CONF);
    folder_put_str(world.conf, "10-f.conflist", LIST);
    install_assert_state(&world.settings, CNI_INSTALL_UNFIT, "10-f.conflist, which is there, of somebody else");
    install_assert_file(world.conf, "10-f.conf", CONF);
    install_assert_file(world.conf, "10-f.conflist", LIST);
    /* something would come between */
    install_begin();
    folder_put_str(world.conf, "10-f.conf", CONF);
    folder_put_str(world.conf, "10-f.conf.json", CONF);
    install_assert_state(&world.settings, CNI_INSTALL_UNFIT, "10-f.conf.json would come before it");
    /* .json sorts behind its list */
    install_begin();
    folder_put_str(world.conf, "10-f.json", CONF);
    folder_put_str(world.conf, "20-x.conflist", LIST);
    install_assert_state(&world.settings, CNI_INSTALL_INSTALLED, "");
    install_assert_file(world.conf, "10-f.json", NULL);
    install_assert_removed(&world.settings);
    install_assert_file(world.conf, "10-f.json", CONF);
    install_assert_file(world.conf, "10-f.conflist", NULL);
    install_assert_file(world.conf, "20-x.conflist", LIST);
}

static void test_standalone(void **state)
{
    (void)state;
    install_begin();
    folder_put_str(world.conf, "10-net.conflist", LIST);
    world.settings.mode = CNI_INSTALL_STANDALONE;
    world.settings.backend = "iptables";
    install_assert_state(&world.settings, CNI_INSTALL_INSTALLED, "");
    install_assert_file(
        world.conf, "zz-fairlead-cni.conf",
        "{\"cniVersion\":\"1.0.0\",\"name\":\"fairlead-cni\",\"type\":\"fairlead-cni\",\"capabilities\":{\"io."
        "kubernetes.cri.pod-annotations\":true},\"backend\":\"iptables\"}\n");
    assert_false(install_reconcile(&world.settings).conflist_written);
    world.settings.backend = NULL;
    assert_true(install_reconcile(&world.settings).conflist_written);
    folder_put_str(world.conf, "my.conf", CONF);
    world.settings.conflist = "my.conf";
    install_assert_state(&world.settings, CNI_INSTALL_UNFIT, "somebody else's");
    world.settings.conflist = "my.conflist";
    install_assert_state(&world.settings, CNI_INSTALL_FAILED, "ends in .conf");
    install_assert_removed(&world.settings);
    install_assert_file(world.conf, "zz-fairlead-cni.conf", NULL);
    install_assert_file(world.conf, "my.conf", CONF);
    install_assert_file(world.conf, "10-net.conflist", LIST);
    /* left of that mode, it would be a network without an interface where it comes first */
    install_begin();
    folder_put_str(world.conf, "00.conf", "{\"name\":\"fairlead-cni\",\"type\":\"fairlead-cni\"}");
    folder_put_str(world.conf, "10-net.conflist", LIST);
    install_assert_state(&world.settings, CNI_INSTALL_INSTALLED, "");
    install_assert_file(world.conf, "00.conf", NULL);
    install_assert_file(world.conf, "10-net.conflist", DONE);
}

static void test_removed_from_everywhere(void **state)
{
    (void)state;
    install_begin();
    folder_put_str(world.conf, "10-net.conflist", DONE);
    folder_put_str(world.conf, "20-net.conflist", DONE);
    folder_put_str(world.conf, "30-multus.conf",
                   "{\"name\":\"m\",\"type\":\"multus\",\"delegates\":[{\"plugins\":[{\"type\":\"a\"}," OURS "]}]}");
    folder_put_str(world.conf, "40-broken.conflist", "{");
    folder_put_str(world.conf, "kubeconfig", "fairlead-cni");
    install_assert_removed(&world.settings);
    install_assert_file(world.conf, "10-net.conflist", LIST);
    install_assert_file(world.conf, "20-net.conflist", LIST);
    install_assert_file(world.conf, "30-multus.conf",
                        "{\"name\":\"m\",\"type\":\"multus\",\"delegates\":[{\"plugins\":[{\"type\":\"a\"}]}]}");
    install_assert_file(world.conf, "40-broken.conflist", "{");
    /* what cannot be read, and may name the plugin, keeps the plugin; the others are clean */
    folder_put_str(world.conf, "10-net.conflist", LIST);
    install_assert_state(&world.settings, CNI_INSTALL_INSTALLED, "");
    folder_put_str(world.conf, "20-net.conflist", "{\"plugins\":[{\"type\":\"fairlead-cni\"");
    struct fl_err err = {0};
    assert_int_equal(cni_install_remove(&world.settings, 0, &err), -EBUSY);
    assert_non_null(strstr(err.text, "20-net.conflist"));
    install_assert_file(world.conf, "10-net.conflist", LIST);
    assert_int_equal(access(folder_in(world.bin, "fairlead-cni"), X_OK), 0);
    unlink(folder_in(world.conf, "20-net.conflist"));
    install_assert_removed(&world.settings);
}

/* ---- other writers at the worst moment ---- */

static const char *race_text;
static int race_moment, race_renames;
static bool race_in_place;

static void race(const char *name, const char *target)
{
    (void)name;
    if (strcmp(target, "10-net.conflist") != 0 || race_renames++ != race_moment)
        return;
    if (race_in_place) {
        folder_put_str(world.conf, target, race_text);
        return;
    }
    folder_put_str(world.conf, "theirs.tmp", race_text);
    assert_int_equal(rename(folder_in(world.conf, "theirs.tmp"), folder_in(world.conf, target)), 0);
}

/* Between our look and our rename another writer puts a newer text there: it is that one which stands in the end. */
static void test_races(void **state)
{
    (void)state;
    static const char newer[] = "{\"cniVersion\":\"1.0.0\",\"name\":\"newer\",\"plugins\":[{\"type\":\"x\"}]}";
    static const char with[] = "{\"cniVersion\":\"1.0.0\",\"name\":\"newer\",\"plugins\":[{\"type\":\"x\"}," OURS "]}";
    for (int moment = 0; moment < 2; moment++) {
        for (int in_place = 0; in_place < 2; in_place++) {
            for (int has_ours = 0; has_ours < 2; has_ours++) {
                install_begin();
                folder_put_str(world.conf, "10-net.conflist", LIST);
                race_text = has_ours ? with : newer;
                race_in_place = in_place;
                race_moment = moment;
                race_renames = 0;
                power_before_rename = race;
                if (moment == 1) {
                    install_assert_state(&world.settings, CNI_INSTALL_INSTALLED, "");
                    folder_put_str(world.conf, "10-net.conflist", LIST);
                }
                install_assert_state(&world.settings, CNI_INSTALL_INSTALLED, "");
                power_before_rename = NULL;
                install_assert_file(world.conf, "10-net.conflist", with);
            }
        }
    }
}

/* An installer was killed right behind an exchange: what came out lies under its temporary name. */
static void test_killed_in_the_middle(void **state)
{
    (void)state;
    static const char left[] = ".fairlead.10-net.conflist.tmp";
    static const char newer[] = "{\"cniVersion\":\"1.0.0\",\"name\":\"newer\",\"plugins\":[{\"type\":\"x\"}]}";
    static const char with[] = "{\"cniVersion\":\"1.0.0\",\"name\":\"newer\",\"plugins\":[{\"type\":\"x\"}," OURS "]}";
    const struct {
        const char *standing, *left, *then, *removed;
    } rows[] = {
        {DONE, newer, with, newer},           /* of a writer that was faster by a moment */
        {DONE, LIST, DONE, LIST},             /* what ours was made of */
        {DONE, "{\"cni", DONE, LIST},         /* not whole */
        {DONE, with, DONE, LIST},             /* ours, not put in place yet */
        {newer, LIST, with, newer},           /* somebody has written since */
        {"{\"cni", LIST, "{\"cni", "{\"cni"}, /* is writing */
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        for (int removal = 0; removal < 2; removal++) {
            install_begin();
            folder_put_str(world.conf, "10-net.conflist", LIST);
            install_assert_state(&world.settings, CNI_INSTALL_INSTALLED, "");
            folder_put_str(world.conf, "10-net.conflist", rows[i].standing);
            folder_put_str(world.conf, left, rows[i].left);
            if (removal)
                install_assert_removed(&world.settings);
            else
                (void)install_reconcile(&world.settings);
            install_assert_file(world.conf, "10-net.conflist", removal ? rows[i].removed : rows[i].then);
            install_assert_file(world.conf, left, NULL);
        }
    }
}

/* The owner writes its .conf again while it is being wrapped. */
static void race_conf(const char *name, const char *target)
{
    (void)target;
    if (strcmp(name, "10-f.conf") == 0 && race_renames++ == 0)
        folder_put_str(world.conf, "10-f.conf", "{\"name\":\"newer\",\"type\":\"flannel\"}");
}

static void test_race_with_wrapping(void **state)
{
    (void)state;
    install_begin();
    folder_put_str(world.conf, "10-f.conf", CONF);
    race_renames = 0;
    power_before_rename = race_conf;
    install_assert_state(&world.settings, CNI_INSTALL_INSTALLED, "");
    power_before_rename = NULL;
    assert_non_null(strstr(folder_get(world.conf, "10-f.conflist"), "newer"));
    install_assert_removed(&world.settings);
    install_assert_file(world.conf, "10-f.conf", "{\"name\":\"newer\",\"type\":\"flannel\"}");
}

/* Somebody makes the list himself, in the moment before it is made of the .conf. */
static void race_list(const char *name, const char *target)
{
    (void)name;
    if (strcmp(target, "10-f.conflist") == 0 && race_renames++ == 0)
        folder_put_str(world.conf, target, LIST);
}

static void test_race_for_the_lists_place(void **state)
{
    (void)state;
    install_begin();
    folder_put_str(world.conf, "10-f.conf", CONF);
    race_renames = 0;
    power_before_rename = race_list;
    install_assert_state(&world.settings, CNI_INSTALL_UNFIT, "10-f.conflist");
    power_before_rename = NULL;
    install_assert_file(world.conf, "10-f.conflist", LIST);
    install_assert_file(world.conf, "10-f.conf", CONF);
}

/* The owner of the .conf writes a newer one, in the moment before the wrapped one comes back. */
static void race_back(const char *name, const char *target)
{
    (void)name;
    if (strcmp(target, "10-f.conf") == 0 && race_renames++ == 0)
        folder_put_str(world.conf, target, "{\"name\":\"newer\",\"type\":\"flannel\"}");
}

static void test_race_with_unwrapping(void **state)
{
    (void)state;
    install_begin();
    folder_put_str(world.conf, "10-f.conf", CONF);
    install_assert_state(&world.settings, CNI_INSTALL_INSTALLED, "");
    race_renames = 0;
    power_before_rename = race_back;
    install_assert_removed(&world.settings);
    power_before_rename = NULL;
    install_assert_file(world.conf, "10-f.conf", "{\"name\":\"newer\",\"type\":\"flannel\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chained),
        cmocka_unit_test(test_which_file),
        cmocka_unit_test(test_what_is_left_alone),
        cmocka_unit_test(test_wrapped),
        cmocka_unit_test(test_wrapped_and_then),
        cmocka_unit_test(test_standalone),
        cmocka_unit_test(test_removed_from_everywhere),
        cmocka_unit_test(test_races),
        cmocka_unit_test(test_killed_in_the_middle),
        cmocka_unit_test(test_race_with_wrapping),
        cmocka_unit_test(test_race_for_the_lists_place),
        cmocka_unit_test(test_race_with_unwrapping),
    };
    return cmocka_run_group_tests(tests, install_set_up, install_tear_down);
}
