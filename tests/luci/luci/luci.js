/* The loader, classes, the DOM helpers, polling and the view. */
'use strict';

String.prototype.format = function(...args) {
	return this.replace(/%(\.\d+)?([sdf%])/g, (all, precision, type) => {
		if (type == '%')
			return '%';
		if (!args.length)
			return all;

		const value = args.shift();

		if (type == 'd')
			return Math.floor(+value || 0).toFixed(0);
		if (type == 'f')
			return precision ? (+value || 0).toFixed(+precision.slice(1)) : String(+value || 0);

		return String(value);
	});
};

function _(text) {
	return (window.TR ?? {})[text] ?? text;
}

function E(...args) {
	return L.dom.create(...args);
}

class Base {
	static extend(properties) {
		const parent = this;
		const child = class extends parent {
			constructor(...args) {
				super(...args);
				if (new.target === child && typeof(this.__init__) == 'function')
					this.__init__(...args);
			}
		};

		for (const key in properties)
			Object.defineProperty(child.prototype, key, { value: properties[key], writable: true });

		return child;
	}
}

const dom = {
	instances: new WeakMap(),

	elem: node => node != null && typeof(node) == 'object' && 'nodeType' in node,

	append(node, children) {
		if (Array.isArray(children))
			children.forEach(child => {
				if (child != null)
					node.appendChild(this.elem(child) ? child : document.createTextNode(String(child)));
			});
		else if (this.elem(children))
			node.appendChild(children);
		else if (children != null)
			node.innerHTML = String(children); /* as LuCI does: a lone string is markup */

		return node.lastChild;
	},

	content(node, children) {
		while (node.firstChild)
			node.removeChild(node.firstChild);

		return this.append(node, children);
	},

	create(name, attributes, children) {
		if (!(attributes instanceof Object) || Array.isArray(attributes))
			[ attributes, children ] = [ {}, attributes ];

		const node = Array.isArray(name) ? document.createDocumentFragment()
			: name.startsWith('<') ? new DOMParser().parseFromString(name, 'text/html').body.firstChild
			: document.createElement(name);

		for (const key in attributes) {
			const value = attributes[key];

			if (typeof(value) == 'function')
				node.addEventListener(key, value);
			else if (value != null)
				node.setAttribute(key, typeof(value) == 'object' ? JSON.stringify(value) : value);
		}

		this.append(node, children);

		return node;
	},

	bindClassInstance(node, instance) {
		this.instances.set(node, instance);
	},

	findClassInstance(node) {
		for (; node; node = node.parentNode)
			if (this.instances.has(node))
				return this.instances.get(node);
		return null;
	}
};

const poll = {
	queue: [], timer: null, tick: 0,

	add(fn, interval) {
		this.queue.push({ fn, interval, ready: true });
	},

	step() {
		this.queue.filter(entry => entry.ready && this.tick % entry.interval == 0).forEach(entry => {
			entry.ready = false;
			Promise.resolve(entry.fn()).finally(() => { entry.ready = true; });
		});
		this.tick++;
	},

	start() {
		if (this.timer == null) {
			this.tick = 0;
			this.timer = window.setInterval(() => this.step(), 1000);
			this.step();
		}
	},

	stop() {
		window.clearInterval(this.timer);
		this.timer = null;
	},

	active() {
		return this.timer != null;
	}
};

const View = Base.extend({
	__init__() {
		const place = document.getElementById('view');

		Promise.resolve(this.load()).then(data => this.render(data)).then(nodes => {
			dom.content(place, nodes);
			place.appendChild(this.addFooter());
			poll.start();
		}).catch(error => L.error(error));
	},

	load() {},

	maps() {
		return [ ...document.querySelectorAll('.cbi-map') ].map(node => dom.instances.get(node)).filter(map => map);
	},

	handleSave() {
		return Promise.all(this.maps().map(map => map.save()));
	},

	handleSaveApply() {
		return this.handleSave().then(() => L.classes.ui.changes.apply());
	},

	handleReset() {
		return Promise.all(this.maps().map(map => map.reset()));
	},

	addFooter() {
		const off = this.maps().some(map => map.readonly) ? '' : null;
		const button = (name, title) => this[name]
			? E('button', { 'class': 'cbi-button', 'click': () => this[name](), 'disabled': off }, [ title ]) : '';

		return (this.handleSaveApply || this.handleSave || this.handleReset)
			? E('div', { 'class': 'cbi-page-actions' }, [
				button('handleSaveApply', _('Save & Apply')), ' ', button('handleSave', _('Save')), ' ', button('handleReset', _('Reset'))
			]) : E([]);
	}
});

class LuCI {
	constructor(env) {
		this.env = env;
		this.dom = dom;
		this.classes = { baseclass: Base, view: View, dom, poll };
		this.naturalCompare = new Intl.Collator(undefined, { numeric: true }).compare;
	}

	require(name) {
		this.classes[name] ??= fetch('%s/%s.js'.format(this.env.resource, name.replace(/\./g, '/'))).then(reply => {
			if (!reply.ok)
				throw new Error('HTTP error %d while loading class file "%s"'.format(reply.status, name));
			return reply.text();
		}).then(source => {
			/* Only the strings at the head of the file say what it needs. */
			const head = /^(?:\s|'[^']*';|\/\*[\s\S]*?\*\/)*/.exec(source)[0];
			const needs = [ ...head.matchAll(/'require (\S+)(?: as (\S+))?'/g) ];

			return Promise.all(needs.map(need => this.require(need[1]))).then(loaded => {
				const names = needs.map(need => need[2] ?? need[1].replace(/\W/g, '_'));
				const made = new Function('window', 'document', 'L', ...names, source + '\n//# sourceURL=' + name)(
					window, document, this, ...loaded);

				if (!(made?.prototype instanceof Base))
					throw new TypeError('"%s" factory yields invalid constructor'.format(name));

				this.classes[name] = new made();
				return this.classes[name];
			});
		});

		return Promise.resolve(this.classes[name]);
	}

	raise(type, text) {
		const error = new Error(text);

		error.name = type;
		throw error;
	}

	error(error) {
		console.error(error);
		document.getElementById('view').prepend(E('pre', { 'class': 'alert-message error' }, [ String(error) ]));
		throw error;
	}

	url(...parts) {
		return [ this.env.scriptname ].concat(parts).join('/');
	}

	resource(path) {
		return '%s/%s'.format(this.env.resource, path);
	}

	hasViewPermission() {
		return this.env.nodespec.satisfied ? !this.env.nodespec.readonly : null;
	}

	isObject(value) {
		return value != null && typeof(value) == 'object';
	}

	toArray(value) {
		return (value == null) ? [] : Array.isArray(value) ? value : String(value).trim().split(/\s+/).filter(s => s);
	}

	resolveDefault(value, standard) {
		return Promise.resolve(value).catch(() => standard);
	}

	bind(fn, self, ...args) {
		return fn.bind(self, ...args);
	}

	notifySessionExpiry() {
		poll.stop();
		this.classes.ui.showModal(_('Session expired'), [ E('p', [ _('A new login is required.') ]) ]);
		this.raise('SessionError', 'Login session is expired');
	}
}
