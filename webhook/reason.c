#include "webhook/reason.h"

static const struct {
    const char *word;
    const char *text;
    unsigned code;
} reasons[WEBHOOK_REASON_COUNT] = {
#define X(symbol, word, code, sentence) [WEBHOOK_REASON_##symbol] = {word, sentence, code},
    WEBHOOK_REASONS(X)
#undef X
};

static const char *const outcomes[WEBHOOK_OUTCOME_COUNT] = {
    [WEBHOOK_INJECTED] = "injected", [WEBHOOK_UNCHANGED] = "unchanged", [WEBHOOK_SKIPPED] = "skipped",
    [WEBHOOK_DENIED] = "denied",     [WEBHOOK_INVALID] = "invalid",
};

const char *webhook_reason_word(enum webhook_reason reason)
{
    return reasons[reason].word;
}

const char *webhook_reason_text(enum webhook_reason reason)
{
    return reasons[reason].text;
}

unsigned webhook_reason_code(enum webhook_reason reason)
{
    return reasons[reason].code;
}

const char *webhook_outcome_word(enum webhook_outcome outcome)
{
    return outcomes[outcome];
}
