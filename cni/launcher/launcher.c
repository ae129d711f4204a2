/* fairlead-cni as it lies in the runtime's folder of plugins: starts the plugin of a folder beside it.
 *
 *   <bin>/fairlead-cni  ─►  <bin>/fairlead-cni.d/<version>/{ld.so, libc.so.6, …, fairlead-cni}
 *
 * The plugin is an ordinary dynamic program; its loader and every library that it needs are in the version's folder, so
 * it runs on a host that has none of them, or others. Which version it is stands in this file's own bytes (the slot),
 * where the installer writes it before it renames the file into place: one rename is the whole upgrade.
 *
 *  - The version's folder is held by a shared lock, which the plugin inherits, so that nobody removes it while the
 *    plugin runs. Where it is gone already, another launcher has taken this file's place: that one is executed.
 *  - Nothing of the environment may change what is loaded: LD_*, GLIBC_TUNABLES and MALLOC_* are dropped. Arguments,
 *    stdin and everything else are handed on.
 *  - No /proc, no /dev, no libc, no memory but this file's. It never waits.
 *  - What goes wrong is told as a CNI error object on stdout, because that is what a pod's events show.
 */
#include "cni/launcher/system.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define SLOT_MARK     "fairlead-cni slot:" /* how cni/install/payload finds it */
#define SLOT_MAX      64                   /* with its NUL */
#define ARGUMENTS_MAX 32
#define LINKS_MAX     8
#define REPORTED_MAX  1024                /* of a path */
#define AGAIN         "--launched-again=" /* first argument of a launcher that another one executed, and how often */
#define AGAIN_MAX     8

/* Filled in by the installer. Volatile: what the compiler sees is not what will be there. */
static volatile const char slot[sizeof(SLOT_MARK) - 1 + SLOT_MAX] = SLOT_MARK;

struct text {
    char bytes[PATH_MAX];
    size_t len; /* of a text that did not fit: sizeof(bytes) */
};

struct call {
    char **arguments; /* without our own first one */
    char **environment;
    int again;                                /* how many launchers there were before this one */
    struct text own, folder, loader, program; /* paths */
    char *handed_on[ARGUMENTS_MAX + 8];       /* an argument vector */
};

static void text_add_byte(struct text *text, char byte)
{
    if (text->len + 1 >= sizeof(text->bytes)) {
        text->len = sizeof(text->bytes);
        return;
    }
    text->bytes[text->len++] = byte;
    text->bytes[text->len] = '\0';
}

static void text_add(struct text *text, const char *bytes)
{
    for (; *bytes != '\0'; bytes++)
        text_add_byte(text, *bytes);
}

/* As a part of a JSON string: the few bytes that it forbids become '?'. What is long is cut. */
static void text_add_plain(struct text *text, const char *bytes)
{
    for (size_t i = 0; i < REPORTED_MAX && bytes[i] != '\0'; i++)
        text_add_byte(text, (unsigned char)bytes[i] < ' ' || bytes[i] == '"' || bytes[i] == '\\' ? '?' : bytes[i]);
}

/* Up to and with the last slash. */
static void text_cut_to_folder(struct text *text)
{
    while (text->len > 0 && text->bytes[text->len - 1] != '/')
        text->len--;
    text->bytes[text->len] = '\0';
}

static bool starts_with(const char *text, const char *prefix)
{
    for (; *prefix != '\0'; text++, prefix++)
        if (*text != *prefix)
            return false;
    return true;
}

static const char *words_for(long result)
{
    switch (-result) {
    case ENOENT:
        return "not there";
    case ENOTDIR:
        return "not a folder";
    case EACCES:
    case EPERM:
        return "not allowed";
    case ENOEXEC:
        return "not a program of this machine";
    case EMFILE:
    case ENFILE:
        return "too many open files";
    case ENOMEM:
        return "out of memory";
    case EIO:
        return "input/output error";
    default:
        return "refused by the system";
    }
}

static int fail(const char *path, const char *reason)
{
    static struct text report;
    text_add(&report, "{\"cniVersion\":\"1.0.0\",\"code\":103,\"msg\":\"fairlead-cni is not whole on this node\","
                      "\"details\":\"");
    text_add_plain(&report, path);
    text_add(&report, ": ");
    text_add_plain(&report, reason);
    text_add(&report, "; fairlead-agent on the node puts it right, or by hand: fairlead cni install\"}\n");
    (void)system_call(SYS_write, 1, (long)report.bytes, (long)report.len, 0, 0);
    return 1;
}

/* The path of this file, links followed: the folder of versions is beside the file, not beside a link to it. */
static bool find_own_path(const char *execfn, struct text *own)
{
    static char target[PATH_MAX];
    text_add(own, execfn);
    for (int i = 0; i < LINKS_MAX && own->len < sizeof(own->bytes); i++) {
        long len = system_call(SYS_readlinkat, AT_FDCWD, (long)own->bytes, (long)target, sizeof(target) - 1, 0);
        if (len < 0) /* EINVAL: a file. Everything else shows when it is used */
            return true;
        target[len] = '\0';
        if (target[0] == '/')
            own->len = 0;
        else
            text_cut_to_folder(own);
        text_add(own, target);
    }
    return false;
}

/* The loader's list of folders has separators and variables; a path that holds one would be read as something else. */
static bool is_plain(const struct text *path)
{
    for (size_t i = 0; i < path->len; i++)
        if (path->bytes[i] == ':' || path->bytes[i] == ';' || path->bytes[i] == '$')
            return false;
    return true;
}

static bool find_files(struct call *call)
{
    text_add(&call->folder, call->own.bytes);
    text_cut_to_folder(&call->folder);
    text_add(&call->folder, "fairlead-cni.d/");
    for (size_t i = sizeof(SLOT_MARK) - 1; i < sizeof(slot) && slot[i] != '\0'; i++)
        text_add_byte(&call->folder, slot[i]);
    if (call->folder.len >= sizeof(call->folder.bytes))
        return false;
    text_add(&call->loader, call->folder.bytes);
    text_add(&call->loader, "/ld.so");
    text_add(&call->program, call->folder.bytes);
    text_add(&call->program, "/fairlead-cni");
    return call->loader.len < sizeof(call->loader.bytes) && call->program.len < sizeof(call->program.bytes);
}

/* Takes the shared lock of the version's folder, for this process and what it becomes. 0; -ENOENT where the folder is
 * gone or about to be removed. A file system without locks goes without. */
static long hold_folder(const char *path)
{
    static struct statx opened, named;
    long fd = system_call(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_DIRECTORY, 0, 0);
    if (fd < 0)
        return fd;
    long result = system_call(SYS_flock, fd, LOCK_SH | LOCK_NB, 0, 0, 0);
    if (result == -EWOULDBLOCK)
        return -ENOENT;
    /* it may have been removed between the two */
    if (system_call(SYS_statx, fd, (long)"", AT_EMPTY_PATH, STATX_INO, (long)&opened) < 0)
        return 0;
    result = system_call(SYS_statx, AT_FDCWD, (long)path, 0, STATX_INO, (long)&named);
    return result < 0 ? result : opened.stx_ino != named.stx_ino ? -ENOENT : 0;
}

static void drop_environment(char **environment)
{
    char **kept = environment;
    for (; *environment != NULL; environment++)
        if (!starts_with(*environment, "LD_") && !starts_with(*environment, "GLIBC_TUNABLES=") &&
            !starts_with(*environment, "MALLOC_"))
            *kept++ = *environment;
    *kept = NULL;
}

/* The caller's arguments behind `count` of ours; false where they are too many. */
static bool hand_on(struct call *call, size_t count)
{
    for (char **argument = call->arguments + 1; *argument != NULL; argument++) {
        if (count + 1 >= sizeof(call->handed_on) / sizeof(call->handed_on[0]))
            return false;
        call->handed_on[count++] = *argument;
    }
    call->handed_on[count] = NULL;
    return true;
}

static long execute(const struct call *call, const char *path)
{
    return system_call(SYS_execve, (long)path, (long)call->handed_on, (long)call->environment, 0, 0);
}

/* Another launcher has taken this one's place, and its folder is there. */
static int start_again(struct call *call)
{
    static char again[] = AGAIN "0";
    if (call->again >= AGAIN_MAX)
        return fail(call->folder.bytes, "not there");
    again[sizeof(again) - 2] = (char)('0' + call->again + 1);
    call->handed_on[0] = call->arguments[0];
    call->handed_on[1] = again;
    if (!hand_on(call, 2))
        return fail(call->own.bytes, "too many arguments");
    return fail(call->own.bytes, words_for(execute(call, call->own.bytes)));
}

static int start_plugin(struct call *call)
{
    char **argument = call->handed_on;
    static char inhibit_cache[] = "--inhibit-cache", library_path[] = "--library-path", argv0[] = "--argv0";
    *argument++ = call->loader.bytes;
    *argument++ = inhibit_cache;
    *argument++ = library_path;
    *argument++ = call->folder.bytes;
    *argument++ = argv0;
    *argument++ = call->arguments[0];
    *argument++ = call->program.bytes;
    if (!hand_on(call, (size_t)(argument - call->handed_on)))
        return fail(call->own.bytes, "too many arguments");
    long result = system_call(SYS_faccessat, AT_FDCWD, (long)call->program.bytes, 1 /* X_OK */, 0, 0);
    if (result < 0)
        return fail(call->program.bytes, words_for(result));
    return fail(call->loader.bytes, words_for(execute(call, call->loader.bytes)));
}

static void take_own_argument(struct call *call)
{
    char *first = call->arguments[0] != NULL ? call->arguments[1] : NULL;
    if (first == NULL || !starts_with(first, AGAIN))
        return;
    char digit = first[sizeof(AGAIN) - 1];
    call->again = digit >= '0' && digit < '0' + AGAIN_MAX ? digit - '0' : AGAIN_MAX;
    call->arguments[1] = call->arguments[0];
    call->arguments++;
}

int launcher_run(char **arguments, char **environment, const char *execfn)
{
    static struct call call;
    call.arguments = arguments;
    call.environment = environment;
    if (arguments[0] == NULL || execfn == NULL)
        return fail("fairlead-cni", "started without a name");
    take_own_argument(&call);
    drop_environment(environment);
    if (!find_own_path(execfn, &call.own) || !find_files(&call))
        return fail(execfn, "its path is too long, or a circle of links");
    if (!is_plain(&call.folder))
        return fail(call.own.bytes, "a path with ':', ';' or '$' is none for a loader");
    if (slot[sizeof(SLOT_MARK) - 1] == '\0')
        return fail(call.own.bytes, "not installed: it names no version");
    long result = hold_folder(call.folder.bytes);
    if (result == -ENOENT)
        return start_again(&call);
    return result < 0 ? fail(call.folder.bytes, words_for(result)) : start_plugin(&call);
}
