/* cni/install/install: which file is edited, that others lose nothing, and what lies on the disk whenever the power
 * goes or a call fails: a configuration that a runtime can use, naming only a plugin that is there. */
#include "cni/install/install.h"

#include "cni/install/confdir.h"
#include "cni/install/disk.h"
#include "tests/support/fail.h"
#include "tests/support/power.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

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

static char top[64], root[128], after[128], source[128];
static char conf[160], bin[160], after_conf[160], after_bin[160];
static struct cni_install_settings settings, later; /* in root; in what a power cut left */

static const char *in(const char *folder, const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static void put(const char *folder, const char *name, const char *text)
{
    FILE *file = fopen(in(folder, name), "we");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    fclose(file);
}

/* NULL: not there. Static. */
static const char *get(const char *folder, const char *name)
{
    static char text[4096];
    int fd = open(in(folder, name), O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (length < 0)
        return NULL;
    text[length] = '\0';
    return text;
}

static void assert_file(const char *folder, const char *name, const char *text)
{
    const char *there = get(folder, name);
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
    mkdir(source, 0755);
    mkdir(in(source, "files"), 0755);
    FILE *file = fopen(in(source, "launcher"), "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, sizeof(bytes), file), sizeof(bytes));
    fclose(file);
    put(in(source, "files"), "ld.so", "the loader");
    put(in(source, "files"), "fairlead-cni", "the plugin");
}

static void begin(void)
{
    power_remove_tree(root);
    power_remove_tree(after);
    assert_int_equal(mkdir(root, 0755), 0);
    assert_int_equal(mkdir(conf, 0755), 0);
    assert_int_equal(mkdir(bin, 0755), 0);
    settings = (struct cni_install_settings){.payload = {source, bin}, .conf_dir = conf};
    later = (struct cni_install_settings){.payload = {source, after_bin}, .conf_dir = after_conf};
}

static int set_up(void **state)
{
    (void)state;
    snprintf(top, sizeof(top), "%s/fairlead-install-XXXXXX", power_place());
    assert_non_null(mkdtemp(top));
    snprintf(root, sizeof(root), "%s/root", top);
    snprintf(after, sizeof(after), "%s/after", top);
    snprintf(source, sizeof(source), "%s/source", top);
    snprintf(conf, sizeof(conf), "%s/conf", root);
    snprintf(bin, sizeof(bin), "%s/bin", root);
    snprintf(after_conf, sizeof(after_conf), "%s/conf", after);
    snprintf(after_bin, sizeof(after_bin), "%s/bin", after);
    make_source();
    begin();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    power_remove_tree(top);
    return 0;
}

static struct cni_install_report reconcile(const struct cni_install_settings *with)
{
    struct cni_install_report report = {.state = CNI_INSTALL_FAILED};
    struct fl_err err = {0};
    if (cni_install_reconcile(with, &report, &err) != 0)
        fail_msg("reconcile: %s", err.text);
    return report;
}

static void assert_state(const struct cni_install_settings *with, enum cni_install_state state, const char *says)
{
    struct cni_install_report report = reconcile(with);
    if (report.state != state || strstr(report.reason, says) == NULL)
        fail_msg("%s: %s", cni_install_state_name(report.state), report.reason);
}

static void assert_removed(const struct cni_install_settings *with)
{
    struct fl_err err = {0};
    int result = cni_install_remove(with, 0, &err);
    if (result != 0)
        fail_msg("remove: %d %s", result, err.text);
    assert_int_not_equal(access(in(with->payload.bin_dir, "fairlead-cni"), F_OK), 0);
    assert_int_not_equal(access(in(with->payload.bin_dir, "fairlead-cni.d"), F_OK), 0);
}

static void test_chained(void **state)
{
    (void)state;
    struct stat status;
    begin();
    put(conf, "10-net.conflist", LIST);
    put(conf, "20-other.conflist", LIST);
    assert_int_equal(chmod(in(conf, "10-net.conflist"), 0640), 0);
    if (geteuid() == 0)
        assert_int_equal(chown(in(conf, "10-net.conflist"), 7, 8), 0);
    struct cni_install_report report = reconcile(&settings);
    assert_int_equal(report.state, CNI_INSTALL_INSTALLED);
    assert_true(report.payload_written && report.conflist_written);
    assert_string_equal(report.conflist, "10-net.conflist");
    assert_string_equal(report.reason, "");
    assert_file(conf, "10-net.conflist", DONE);
    assert_file(conf, "20-other.conflist", LIST);
    assert_int_equal(stat(in(conf, "10-net.conflist"), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0640);
    assert_true(geteuid() != 0 || (status.st_uid == 7 && status.st_gid == 8));
    assert_int_equal(access(in(bin, "fairlead-cni"), X_OK), 0);
    report = reconcile(&settings);
    assert_int_equal(report.state, CNI_INSTALL_INSTALLED);
    assert_false(report.payload_written || report.conflist_written);
    assert_removed(&settings);
    assert_file(conf, "10-net.conflist", LIST);
    assert_removed(&settings);
    assert_file(conf, "10-net.conflist", LIST);
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
        begin();
        mkdir(in(conf, "00-folder.conflist"), 0755);
        for (size_t file = 0; rows[i].files[file] != NULL; file++)
            put(conf, rows[i].files[file], LIST);
        settings.conflist = rows[i].conflist;
        settings.network = rows[i].network;
        struct cni_install_report report = reconcile(&settings);
        assert_int_equal(report.state, CNI_INSTALL_INSTALLED);
        assert_string_equal(report.conflist, rows[i].chosen);
        for (size_t file = 0; rows[i].files[file] != NULL; file++)
            assert_file(conf, rows[i].files[file], strcmp(rows[i].files[file], rows[i].chosen) == 0 ? DONE : LIST);
    }
    /* CRI-O: by the network's name, past what it cannot read */
    begin();
    put(conf, "10-a.conflist", "{");
    put(conf, "20-b.conflist", DONE);
    put(conf, "30-c.conf", CONF);
    settings.network = "cbr0";
    assert_state(&settings, CNI_INSTALL_INSTALLED, "");
    assert_file(conf, "20-b.conflist", DONE);
    assert_non_null(get(conf, "30-c.conflist"));
    settings.network = "other";
    assert_state(&settings, CNI_INSTALL_WAITING, "no file with the network other yet");
}

static void test_what_is_left_alone(void **state)
{
    (void)state;
    begin();
    assert_state(&settings, CNI_INSTALL_WAITING, "no network configuration yet");
    put(conf, "20-net.conflist", LIST);
    put(conf, "10-net.conflist", "{\"cniVersion\":\"1.0.0\",\n\"name");
    assert_state(&settings, CNI_INSTALL_UNREADABLE, "10-net.conflist: line 2, column 6: the text ends inside a string");
    put(conf, "10-net.conflist", "");
    assert_state(&settings, CNI_INSTALL_UNREADABLE, "10-net.conflist");
    assert_file(conf, "20-net.conflist", LIST); /* a runtime would not go past the first one either */
    put(conf, "10-net.conflist", "{\"cniVersion\":\"0.2.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"a\"}]}");
    assert_state(&settings, CNI_INSTALL_UNFIT, "$.cniVersion");
    unlink(in(conf, "10-net.conflist"));
    assert_int_equal(symlink("20-net.conflist", in(conf, "10-net.conflist")), 0);
    assert_state(&settings, CNI_INSTALL_UNFIT, "symbolic link");
    unlink(in(conf, "10-net.conflist"));
    assert_int_equal(mkfifo(in(conf, "10-net.conflist"), 0600), 0);
    assert_state(&settings, CNI_INSTALL_FAILED, "no regular file");
    unlink(in(conf, "10-net.conflist"));
    settings.conf_dir = in(root, "nowhere");
    assert_state(&settings, CNI_INSTALL_WAITING, "is not there yet");
    settings.conf_dir = in(source, "launcher");
    assert_state(&settings, CNI_INSTALL_FAILED, "a folder is expected");
    settings.conf_dir = conf;
    settings.payload.bin_dir = in(root, "nowhere");
    assert_state(&settings, CNI_INSTALL_WAITING, "no folder of plugins");
    assert_file(conf, "20-net.conflist", LIST);
    settings.payload.bin_dir = bin;
    settings.conflist = "x.conflist";
    assert_state(&settings, CNI_INSTALL_WAITING, "x.conflist is not there yet");
}

static void test_wrapped(void **state)
{
    (void)state;
    begin();
    put(conf, "10-f.conf", CONF);
    assert_int_equal(chmod(in(conf, "10-f.conf"), 0604), 0);
    assert_state(&settings, CNI_INSTALL_INSTALLED, "");
    assert_file(conf, "10-f.conf", NULL);
    assert_file(conf, "10-f.conflist", WRAP);
    assert_file(conf, "10-f.conf.fairlead-backup", CONF);
    assert_false(reconcile(&settings).conflist_written);
    /* its owner writes it again: it counts, and is wrapped again */
    put(conf, "10-f.conf", "{\"name\":\"cbr1\",\"type\":\"flannel\"}");
    assert_state(&settings, CNI_INSTALL_INSTALLED, "");
    assert_file(conf, "10-f.conf", NULL);
    assert_non_null(strstr(get(conf, "10-f.conflist"), "cbr1"));
    put(conf, "10-f.conf", CONF);
    assert_int_equal(chmod(in(conf, "10-f.conf"), 0604), 0);
    assert_state(&settings, CNI_INSTALL_INSTALLED, "");
    assert_removed(&settings);
    struct stat status;
    assert_file(conf, "10-f.conf", CONF);
    assert_int_equal(stat(in(conf, "10-f.conf"), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0604);
    assert_file(conf, "10-f.conflist", NULL);
    assert_file(conf, "10-f.conf.fairlead-backup", NULL);
}

static void test_wrapped_and_then(void **state)
{
    (void)state;
    /* the backup is gone: the bytes are in the list */
    begin();
    put(conf, "10-f.conf", CONF);
    assert_state(&settings, CNI_INSTALL_INSTALLED, "");
    unlink(in(conf, "10-f.conf.fairlead-backup"));
    assert_removed(&settings);
    assert_file(conf, "10-f.conf", CONF);
    /* somebody chained something else into the list: it stays a list */
    begin();
    put(conf, "10-f.conf", CONF);
    assert_state(&settings, CNI_INSTALL_INSTALLED, "");
    put(conf, "10-f.conflist",
        "{\"cniVersion\":\"0.3.1\",\"name\":\"cbr0\",\"fairlead.io/wrapped\":\"10-f.conf\",\"plugins\":[" CONF
        ",{\"type\":\"x\"}," OURS "]}");
    assert_removed(&settings);
    assert_file(conf, "10-f.conf", NULL);
    assert_file(conf, "10-f.conflist",
                "{\"cniVersion\":\"0.3.1\",\"name\":\"cbr0\",\"fairlead.io/wrapped\":\"10-f.conf\",\"plugins\":[" CONF
                ",{\"type\":\"x\"}]}");
    /* a list of somebody else has the name already */
    begin();
    put(conf, "10-f.conf", CONF);
    put(conf, "10-f.conflist", LIST);
    assert_state(&settings, CNI_INSTALL_UNFIT, "10-f.conflist, which is there, of somebody else");
    assert_file(conf, "10-f.conf", CONF);
    assert_file(conf, "10-f.conflist", LIST);
    /* something would come between */
    begin();
    put(conf, "10-f.conf", CONF);
    put(conf, "10-f.conf.json", CONF);
    assert_state(&settings, CNI_INSTALL_UNFIT, "10-f.conf.json would come before it");
    /* .json sorts behind its list */
    begin();
    put(conf, "10-f.json", CONF);
    put(conf, "20-x.conflist", LIST);
    assert_state(&settings, CNI_INSTALL_INSTALLED, "");
    assert_file(conf, "10-f.json", NULL);
    assert_removed(&settings);
    assert_file(conf, "10-f.json", CONF);
    assert_file(conf, "10-f.conflist", NULL);
    assert_file(conf, "20-x.conflist", LIST);
}

static void test_standalone(void **state)
{
    (void)state;
    begin();
    put(conf, "10-net.conflist", LIST);
    settings.mode = CNI_INSTALL_STANDALONE;
    settings.backend = "iptables";
    assert_state(&settings, CNI_INSTALL_INSTALLED, "");
    assert_file(conf, "zz-fairlead-cni.conf",
                "{\"cniVersion\":\"1.0.0\",\"name\":\"fairlead-cni\",\"type\":\"fairlead-cni\",\"capabilities\":{\"io."
                "kubernetes.cri.pod-annotations\":true},\"backend\":\"iptables\"}\n");
    assert_false(reconcile(&settings).conflist_written);
    settings.backend = NULL;
    assert_true(reconcile(&settings).conflist_written);
    put(conf, "my.conf", CONF);
    settings.conflist = "my.conf";
    assert_state(&settings, CNI_INSTALL_UNFIT, "somebody else's");
    settings.conflist = "my.conflist";
    assert_state(&settings, CNI_INSTALL_FAILED, "ends in .conf");
    assert_removed(&settings);
    assert_file(conf, "zz-fairlead-cni.conf", NULL);
    assert_file(conf, "my.conf", CONF);
    assert_file(conf, "10-net.conflist", LIST);
    /* left of that mode, it would be a network without an interface where it comes first */
    begin();
    put(conf, "00.conf", "{\"name\":\"fairlead-cni\",\"type\":\"fairlead-cni\"}");
    put(conf, "10-net.conflist", LIST);
    assert_state(&settings, CNI_INSTALL_INSTALLED, "");
    assert_file(conf, "00.conf", NULL);
    assert_file(conf, "10-net.conflist", DONE);
}

static void test_removed_from_everywhere(void **state)
{
    (void)state;
    begin();
    put(conf, "10-net.conflist", DONE);
    put(conf, "20-net.conflist", DONE);
    put(conf, "30-multus.conf",
        "{\"name\":\"m\",\"type\":\"multus\",\"delegates\":[{\"plugins\":[{\"type\":\"a\"}," OURS "]}]}");
    put(conf, "40-broken.conflist", "{");
    put(conf, "kubeconfig", "fairlead-cni");
    assert_removed(&settings);
    assert_file(conf, "10-net.conflist", LIST);
    assert_file(conf, "20-net.conflist", LIST);
    assert_file(conf, "30-multus.conf",
                "{\"name\":\"m\",\"type\":\"multus\",\"delegates\":[{\"plugins\":[{\"type\":\"a\"}]}]}");
    assert_file(conf, "40-broken.conflist", "{");
    /* what cannot be read, and may name the plugin, keeps the plugin; the others are clean */
    put(conf, "10-net.conflist", LIST);
    assert_state(&settings, CNI_INSTALL_INSTALLED, "");
    put(conf, "20-net.conflist", "{\"plugins\":[{\"type\":\"fairlead-cni\"");
    struct fl_err err = {0};
    assert_int_equal(cni_install_remove(&settings, 0, &err), -EBUSY);
    assert_non_null(strstr(err.text, "20-net.conflist"));
    assert_file(conf, "10-net.conflist", LIST);
    assert_int_equal(access(in(bin, "fairlead-cni"), X_OK), 0);
    unlink(in(conf, "20-net.conflist"));
    assert_removed(&settings);
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
        put(conf, target, race_text);
        return;
    }
    put(conf, "theirs.tmp", race_text);
    assert_int_equal(rename(in(conf, "theirs.tmp"), in(conf, target)), 0);
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
                begin();
                put(conf, "10-net.conflist", LIST);
                race_text = has_ours ? with : newer;
                race_in_place = in_place;
                race_moment = moment;
                race_renames = 0;
                power_before_rename = race;
                if (moment == 1) {
                    assert_state(&settings, CNI_INSTALL_INSTALLED, "");
                    put(conf, "10-net.conflist", LIST);
                }
                assert_state(&settings, CNI_INSTALL_INSTALLED, "");
                power_before_rename = NULL;
                assert_file(conf, "10-net.conflist", with);
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
            begin();
            put(conf, "10-net.conflist", LIST);
            assert_state(&settings, CNI_INSTALL_INSTALLED, "");
            put(conf, "10-net.conflist", rows[i].standing);
            put(conf, left, rows[i].left);
            if (removal)
                assert_removed(&settings);
            else
                (void)reconcile(&settings);
            assert_file(conf, "10-net.conflist", removal ? rows[i].removed : rows[i].then);
            assert_file(conf, left, NULL);
        }
    }
}

/* The owner writes its .conf again while it is being wrapped. */
static void race_conf(const char *name, const char *target)
{
    (void)target;
    if (strcmp(name, "10-f.conf") == 0 && race_renames++ == 0)
        put(conf, "10-f.conf", "{\"name\":\"newer\",\"type\":\"flannel\"}");
}

static void test_race_with_wrapping(void **state)
{
    (void)state;
    begin();
    put(conf, "10-f.conf", CONF);
    race_renames = 0;
    power_before_rename = race_conf;
    assert_state(&settings, CNI_INSTALL_INSTALLED, "");
    power_before_rename = NULL;
    assert_non_null(strstr(get(conf, "10-f.conflist"), "newer"));
    assert_removed(&settings);
    assert_file(conf, "10-f.conf", "{\"name\":\"newer\",\"type\":\"flannel\"}");
}

/* Somebody makes the list himself, in the moment before it is made of the .conf. */
static void race_list(const char *name, const char *target)
{
    (void)name;
    if (strcmp(target, "10-f.conflist") == 0 && race_renames++ == 0)
        put(conf, target, LIST);
}

static void test_race_for_the_lists_place(void **state)
{
    (void)state;
    begin();
    put(conf, "10-f.conf", CONF);
    race_renames = 0;
    power_before_rename = race_list;
    assert_state(&settings, CNI_INSTALL_UNFIT, "10-f.conflist");
    power_before_rename = NULL;
    assert_file(conf, "10-f.conflist", LIST);
    assert_file(conf, "10-f.conf", CONF);
}

/* The owner of the .conf writes a newer one, in the moment before the wrapped one comes back. */
static void race_back(const char *name, const char *target)
{
    (void)name;
    if (strcmp(target, "10-f.conf") == 0 && race_renames++ == 0)
        put(conf, target, "{\"name\":\"newer\",\"type\":\"flannel\"}");
}

static void test_race_with_unwrapping(void **state)
{
    (void)state;
    begin();
    put(conf, "10-f.conf", CONF);
    assert_state(&settings, CNI_INSTALL_INSTALLED, "");
    race_renames = 0;
    power_before_rename = race_back;
    assert_removed(&settings);
    power_before_rename = NULL;
    assert_file(conf, "10-f.conf", "{\"name\":\"newer\",\"type\":\"flannel\"}");
}

/* ---- power ---- */

/* What a runtime would make of the folder: the first file is whole, has the network's own plugin, and names ours only
 * where it is in force. */
static void check_usable(const struct cni_install_settings *with, const char *type, const char *where)
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
    const char *text = get(with->conf_dir, confdir.names[0]);
    if (cni_conflist_read(fl_span_str(text), cni_confdir_is_list(confdir.names[0]), &facts, &err) != 0)
        fail_msg("%s: %s: %s", where, confdir.names[0], err.text);
    if (strstr(text, type) == NULL || facts.plugins != 1)
        fail_msg("%s: %s: %s", where, confdir.names[0], text);
    if (facts.ours > 0 && (access(in(with->payload.bin_dir, "fairlead-cni"), X_OK) != 0 ||
                           cni_payload_in_force(&with->payload, version, &err) != 0 ||
                           access(in(in(with->payload.bin_dir, "fairlead-cni.d"), version), X_OK) != 0))
        fail_msg("%s: %s names a plugin that is not there", where, confdir.names[0]);
    cni_confdir_done(&confdir);
}

/* The four journeys, cut at each step; the next start of an agent, or of an uninstaller, ends them. */
static void cut_everywhere(const char *name, const char *text, const char *installed_name, const char *installed,
                           bool removal)
{
    const char *type = strstr(text, "bridge") != NULL ? "bridge" : "flannel";
    begin();
    put(conf, name, text);
    if (removal)
        assert_state(&settings, CNI_INSTALL_INSTALLED, "");
    power_start(root);
    if (removal)
        assert_removed(&settings);
    else
        assert_state(&settings, CNI_INSTALL_INSTALLED, "");
    power_stop();
    assert_true(power_operations() > 8);
    POWER_EACH_CUT(cut, variant)
    {
        const char *where = power_describe(cut, variant);
        power_restore(cut, variant, after);
        check_usable(&later, type, where);
        struct cni_install_report report = reconcile(&later);
        if (report.state != CNI_INSTALL_INSTALLED)
            fail_msg("%s: %s", where, report.reason);
        assert_file(after_conf, installed_name, installed);
        check_usable(&later, type, where);
        power_restore(cut, variant, after);
        assert_removed(&later);
        assert_file(after_conf, name, text);
        check_usable(&later, type, where);
        if (strcmp(name, installed_name) != 0)
            assert_file(after_conf, installed_name, NULL);
    }
}

static void test_power_while_chaining(void **state)
{
    (void)state;
    cut_everywhere("10-net.conflist", LIST, "10-net.conflist", DONE, false);
}

static void test_power_while_unchaining(void **state)
{
    (void)state;
    cut_everywhere("10-net.conflist", LIST, "10-net.conflist", DONE, true);
}

static void test_power_while_wrapping(void **state)
{
    (void)state;
    cut_everywhere("10-f.conf", CONF, "10-f.conflist", WRAP, false);
}

static void test_power_while_unwrapping(void **state)
{
    (void)state;
    cut_everywhere("10-f.conf", CONF, "10-f.conflist", WRAP, true);
}

/* ---- failing calls ---- */

static void fail_everywhere(const char *name, const char *text, const char *installed_name, const char *installed,
                            bool removal, int error)
{
    const char *type = strstr(text, "bridge") != NULL ? "bridge" : "flannel";
    for (size_t nth = 1; nth < 1000; nth++) {
        char where[64];
        struct cni_install_report report;
        struct fl_err err = {0};
        snprintf(where, sizeof(where), "call %zu fails", nth);
        begin();
        put(conf, name, text);
        if (removal)
            assert_state(&settings, CNI_INSTALL_INSTALLED, "");
        power_fail_at(nth, error);
        int result = removal ? cni_install_remove(&settings, 0, &err) : cni_install_reconcile(&settings, &report, &err);
        bool failed = power_failed();
        power_fail_at(0, 0);
        if (!failed) {
            assert_int_equal(result, 0);
            return;
        }
        check_usable(&settings, type, where);
        assert_state(&settings, CNI_INSTALL_INSTALLED, "");
        assert_file(conf, installed_name, installed);
        assert_removed(&settings);
        assert_file(conf, name, text);
    }
    fail_msg("it does not end");
}

static void test_failing_calls(void **state)
{
    (void)state;
    static const int errors[] = {ENOSPC, EIO, EROFS, EACCES};
    for (size_t i = 0; i < FL_COUNT(errors); i++) {
        fail_everywhere("10-net.conflist", LIST, "10-net.conflist", DONE, false, errors[i]);
        fail_everywhere("10-net.conflist", LIST, "10-net.conflist", DONE, true, errors[i]);
        fail_everywhere("10-f.conf", CONF, "10-f.conflist", WRAP, false, errors[i]);
        fail_everywhere("10-f.conf", CONF, "10-f.conflist", WRAP, true, errors[i]);
    }
}

static void test_memory(void **state)
{
    (void)state;
    static const char *const names[] = {"10-net.conflist", "10-f.conf"}, *const texts[] = {LIST, CONF};
    for (size_t i = 0; i < FL_COUNT(names); i++) {
        FAIL_EACH_ALLOCATION
        {
            struct cni_install_report report;
            fail_stop();
            begin();
            put(conf, names[i], texts[i]);
            fail_at(fail_round_);
            int result = cni_install_reconcile(&settings, &report, NULL);
            fail_stop();
            bool failed = fail_happened();
            if (result != 0)
                assert_int_equal(result, -ENOMEM);
            check_usable(&settings, i == 0 ? "bridge" : "flannel", "memory");
            fail_at(fail_round_);
            result = cni_install_remove(&settings, 0, NULL);
            fail_stop();
            failed |= fail_happened();
            if (result != 0)
                assert_int_equal(result, -ENOMEM);
            check_usable(&settings, i == 0 ? "bridge" : "flannel", "memory");
            assert_removed(&settings);
            assert_file(conf, names[i], texts[i]);
            if (failed) {
                fail_at(1); /* for the macro, which goes on where one failed */
                void *volatile none = malloc(1);
                assert_null(none);
                fail_stop();
            }
        }
    }
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
        cmocka_unit_test(test_race_with_wrapping),
        cmocka_unit_test(test_killed_in_the_middle),
        cmocka_unit_test(test_race_for_the_lists_place),
        cmocka_unit_test(test_race_with_unwrapping),
        cmocka_unit_test(test_power_while_chaining),
        cmocka_unit_test(test_power_while_unchaining),
        cmocka_unit_test(test_power_while_wrapping),
        cmocka_unit_test(test_power_while_unwrapping),
        cmocka_unit_test(test_failing_calls),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
