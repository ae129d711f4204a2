/* main() of a fuzz target outside the fuzz preset: replays the files and folders named as arguments, each input ending
 * at a PROT_NONE page. An ordinary test: it fails by crashing, by a sanitizer's report, or where there is no input. */
#include "common/base/buf.h"
#include "tests/support/guard.h"

#include <dirent.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (8u << 20)

static int replay_file(const char *path)
{
    struct fl_buf input;
    fl_buf_init(&input, INPUT_MAX);
    int result = fl_buf_read_file(&input, path);
    if (result == 0) {
        struct guard guard;
        guard_init(&guard, fl_buf_span(&input));
        LLVMFuzzerTestOneInput((const uint8_t *)guard.span.data, guard.span.len);
        guard_done(&guard);
    } else {
        fprintf(stderr, "%s: %s\n", path, strerror(-result));
    }
    fl_buf_done(&input);
    return result;
}

static int replay_folder(DIR *folder, const char *path, unsigned *count)
{
    for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        char name[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        if (replay_file(name) < 0)
            return -1;
        (*count)++;
    }
    return 0;
}

int main(int argc, char **argv)
{
    unsigned count = 0;
    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        int result = folder != NULL ? replay_folder(folder, argv[i], &count) : replay_file(argv[i]);
        count += folder == NULL;
        if (folder != NULL)
            closedir(folder);
        if (result < 0)
            return 1;
    }
    printf("%u inputs replayed\n", count);
    return count > 0 ? 0 : 1;
}
