/* Loads a folder with the directory source and follows it: what mesh-yaml.py wrote, usually.
 *
 *     control-directory FOLDER [CHANGES]
 *
 * Prints one JSON object: milliseconds of the full load, private KiB afterwards, and of CHANGES (default 20)
 * one-endpoint changes of a file how long each took: until it was in the model (settling included), and the CPU of the
 * round.
 */
#include "control/source/directory.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define CHANGES_MAX 1000

static double now_ms(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec * 1000 + (double)time.tv_nsec / 1e6;
}

static uint64_t private_kib(void)
{
    uint64_t total = 0, kib;
    char line[256];
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "Private_Clean: %" SCNu64, &kib) == 1 || sscanf(line, "Private_Dirty: %" SCNu64, &kib) == 1)
            total += kib;
    if (file != NULL)
        fclose(file);
    return total;
}

static void on_commit(void *context, const struct control_diff *diff)
{
    *(size_t *)context += diff->count;
}

/* Changes one endpoint's condition in a file: "ready: true" and "ready: false" alternate at the first place. */
static int change(const char *path, bool ready)
{
    struct fl_buf text;
    char hidden[1024];
    fl_buf_init(&text, 64u << 20);
    int result = fl_buf_read_file(&text, path);
    char *at = result == 0 && fl_buf_str(&text) != NULL ? strstr(text.data, "conditions: {ready: ") : NULL;
    snprintf(hidden, sizeof(hidden), "%s.tmp", path);
    FILE *file = at != NULL ? fopen(hidden, "we") : NULL;
    if (file != NULL) {
        at += strlen("conditions: {ready: ");
        fwrite(text.data, 1, (size_t)(at - text.data), file);
        fputs(ready ? "true" : "false", file);
        at += *at == 't' ? 4 : 5;
        fwrite(at, 1, (size_t)(text.data + text.len - at), file);
        fclose(file);
        result = rename(hidden, path);
    }
    fl_buf_done(&text);
    return file != NULL ? result : -1;
}

static int compare(const void *a, const void *b)
{
    double one = *(const double *)a, other = *(const double *)b;
    return one < other ? -1 : one > other;
}

int main(int argc, char **argv)
{
    struct fl_loop *loop = NULL;
    struct control_store *store = NULL;
    struct control_directory *directory = NULL;
    struct fl_err err = {0};
    size_t changed = 0, changes = argc > 2 ? strtoul(argv[2], NULL, 10) : 20;
    double took[CHANGES_MAX], cpu[CHANGES_MAX];
    char path[512];
    if (argc < 2 || changes > CHANGES_MAX || fl_loop_new(&loop) < 0 || control_store_new(&store) < 0)
        return 2;
    double start = now_ms(CLOCK_MONOTONIC);
    if (control_directory_open(loop, store, argv[1], on_commit, &changed, &directory, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    double load = now_ms(CLOCK_MONOTONIC) - start;
    struct control_directory_stats stats = control_directory_stats(directory);
    uint64_t kib = private_kib();
    snprintf(path, sizeof(path), "%s/mesh-100.yaml", argv[1]);
    for (int i = 0; i < 20; i++)
        fl_loop_turn(loop, 10); /* the round that follows the first */
    for (size_t i = 0; i < changes; i++) {
        size_t before = changed;
        if (change(path, i % 2 != 0) < 0)
            return 1;
        double begin = now_ms(CLOCK_MONOTONIC), begin_cpu = now_ms(CLOCK_PROCESS_CPUTIME_ID);
        while (changed == before)
            fl_loop_turn(loop, 1000);
        took[i] = now_ms(CLOCK_MONOTONIC) - begin;
        cpu[i] = now_ms(CLOCK_PROCESS_CPUTIME_ID) - begin_cpu;
    }
    qsort(took, changes, sizeof(*took), compare);
    qsort(cpu, changes, sizeof(*cpu), compare);
    printf("{\"files\":%" PRIu64 ",\"objects\":%" PRIu64 ",\"problems\":%" PRIu64
           ",\"load_ms\":%.0f,\"private_kib\":%" PRIu64 ",\"private_after_kib\":%" PRIu64
           ",\"change_ms_p50\":%.1f,\"change_ms_p99\":%.1f,\"change_cpu_ms_p50\":%.1f,\"change_cpu_ms_p99\":%.1f}\n",
           stats.files, stats.objects, stats.problems, load, kib, private_kib(), took[changes / 2],
           took[changes - changes / 100 - 1], cpu[changes / 2], cpu[changes - changes / 100 - 1]);
    control_directory_close(directory);
    control_store_free(store);
    fl_loop_free(loop);
    return 0;
}
