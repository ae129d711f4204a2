/* Shell completion: `fairlead __complete WORD…`, which the scripts of `fairlead completion` and kubectl ask.
 */
#ifndef CLI_COMPLETION_H
#define CLI_COMPLETION_H

#define CLI_COMPLETE_WORD    "__complete"                /* the subcommand that is in no list */
#define CLI_COMPLETE_PROGRAM "kubectl_complete-fairlead" /* what kubectl runs for its plugin `fairlead` */

/* Words behind the program's name, the last being typed. Prints candidates, a line each, and last a line ":4" (nothing
 * else) or ":0" (files too), as kubectl reads it. Always CLI_OK. */
int cli_complete_words(int count, char **words);

#endif
