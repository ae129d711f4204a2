/* cni/install/payload as a command, for tests that kill installers: payload_tool install|prune|remove|check|version
 * SOURCE BIN_DIR. Exit codes: 0, 1 differs or busy, 2 failed. */
#include "cni/install/payload.h"

#include <stdio.h>
#include <string.h>

static int carry_out(const char *verb, const struct cni_payload *payload, struct fl_err *err)
{
    char name[CNI_PAYLOAD_NAME_MAX];
    if (strcmp(verb, "install") == 0)
        return cni_payload_install(payload, err);
    if (strcmp(verb, "prune") == 0)
        return cni_payload_prune(payload, err);
    if (strcmp(verb, "remove") == 0)
        return cni_payload_remove(payload, err);
    if (strcmp(verb, "check") == 0)
        return cni_payload_check(payload, err);
    int result = cni_payload_version(payload, name, err);
    if (result == 0)
        puts(name);
    return result;
}

int main(int argc, char **argv)
{
    struct fl_err err = {0};
    if (argc != 4)
        return 2;
    int result = carry_out(argv[1], &(struct cni_payload){argv[2], argv[3]}, &err);
    if (result != 0)
        fprintf(stderr, "%s: %s\n", argv[1], err.text);
    return result < 0 ? 2 : result != 0;
}
