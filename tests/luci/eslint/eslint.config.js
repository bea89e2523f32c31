// What JavaScript in this project keeps to: LuCI's own globals, and what its modules are given by their 'require' lines.

const required = [ 'baseclass', 'bgpmesh', 'dom', 'form', 'fs', 'poll', 'rpc', 'uci', 'ui', 'view', 'widgets' ];
const browser = [ 'console', 'document', 'fetch', 'window', 'DOMParser', 'Intl', 'Node', 'NodeFilter' ];

module.exports = [ {
	files: [ '**/*.js' ],
	linterOptions: { reportUnusedDisableDirectives: true },
	languageOptions: {
		ecmaVersion: 2022,
		// A module of LuCI's is the body of a function.
		sourceType: 'commonjs',
		globals: Object.fromEntries([ 'L', 'E', '_', ...required, ...browser ].map(name => [ name, 'readonly' ]))
	},
	rules: {
		'array-callback-return': 'error',
		'constructor-super': 'error',
		'no-const-assign': 'error',
		'no-dupe-args': 'error',
		'no-dupe-keys': 'error',
		'no-dupe-else-if': 'error',
		'no-duplicate-case': 'error',
		'no-empty': 'error',
		'no-eval': 'error',
		'no-fallthrough': 'error',
		'no-func-assign': 'error',
		'no-loss-of-precision': 'error',
		'no-redeclare': [ 'error', { builtinGlobals: false } ],
		'no-self-assign': 'error',
		'no-self-compare': 'error',
		'no-shadow': 'error',
		'no-sparse-arrays': 'error',
		'no-undef': 'error',
		'no-unreachable': 'error',
		'no-unsafe-negation': 'error',
		'no-unused-vars': [ 'error', { caughtErrors: 'all' } ],
		'no-use-before-define': [ 'error', { functions: false, variables: false } ],
		'no-useless-escape': 'error',
		'no-var': 'error',
		'prefer-const': [ 'error', { destructuring: 'all' } ],
		'strict': [ 'error', 'global' ],
		'use-isnan': 'error',
		'valid-typeof': 'error'
	}
}, {
	// It makes the globals.
	files: [ 'tests/luci/luci/luci.js' ],
	languageOptions: { sourceType: 'script' },
	rules: { 'no-redeclare': 'off', 'no-unused-vars': 'off' }
} ];
