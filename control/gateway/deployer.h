/* `fairlead-control deployer`: the deployer (deploy.h) as a process of its own, with a Lease and an account of its own;
 * no listener. */
#ifndef CONTROL_GATEWAY_DEPLOYER_H
#define CONTROL_GATEWAY_DEPLOYER_H

/* argv[0] is "deployer". The exit code: 0 after SIGTERM or SIGINT (the Lease is given up), 1 could not start, 2 usage.
 */
int control_deployer_main(int argc, char **argv);

#endif
